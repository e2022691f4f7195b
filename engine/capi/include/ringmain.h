#ifndef RINGMAIN_H
#define RINGMAIN_H

/* Made from engine/capi/src by cbindgen: `cargo test -p ringmain-capi` compares. */

#include <stddef.h>
#include <stdint.h>

// What a call came to. Everything but `RINGMAIN_CODE_OK` left the log as it was, unless it says otherwise.
typedef enum {
  // Done; what it asked for is durable if it says so.
  RINGMAIN_CODE_OK = 0,
  // A pointer is null, or a length cannot be.
  RINGMAIN_CODE_ARGUMENT = 1,
  // The engine was closed.
  RINGMAIN_CODE_CLOSED = 2,
  // There is no such log.
  RINGMAIN_CODE_UNKNOWN_LOG = 3,
  // The log does not end where it was expected to.
  RINGMAIN_CODE_WRONG_OFFSET = 4,
  // The bytes are none that can be appended: none at all, or too many.
  RINGMAIN_CODE_BATCH = 5,
  // Below the log's start, or above what is durable.
  RINGMAIN_CODE_OUT_OF_RANGE = 6,
  // The bytes on the device are not what was written there.
  RINGMAIN_CODE_DAMAGED = 7,
  // There is too little room on the file system.
  RINGMAIN_CODE_NO_SPACE = 8,
  // A batch reaches across the offset, or what is there is committed: nothing was truncated.
  RINGMAIN_CODE_NOT_TRUNCATED = 9,
  // Another process has the directory open.
  RINGMAIN_CODE_IN_USE = 10,
  // The directory cannot be written.
  RINGMAIN_CODE_READ_ONLY = 11,
  // The directory was written by another version, or the configuration cannot be.
  RINGMAIN_CODE_INCOMPATIBLE = 12,
  // The device or the kernel failed; whether an append in flight is durable is known at the next open.
  RINGMAIN_CODE_FAILED = 13,
} ringmain_code;

// An open data directory.
typedef struct ringmain_engine ringmain_engine;

// One log of it.
typedef struct ringmain_log_t ringmain_log_t;

// Called once, on a thread of the engine, which must not be held up: `RINGMAIN_CODE_OK` and the offset that the record
// got, now durable; or why it was not appended.
typedef void (*ringmain_appended)(void *context, ringmain_code code, uint64_t offset);

// Called for each record that was read; `value` is lent until it returns. Another value than 0 ends the read.
typedef int32_t (*ringmain_record)(void *context,
                                   uint64_t offset,
                                   const uint8_t *value,
                                   size_t value_bytes);

// What a log holds: `start <= durable <= end`.
typedef struct {
  // First offset that can be read.
  uint64_t start;
  // Everything below is on the device.
  uint64_t durable;
  // The offset that the next record gets.
  uint64_t end;
} ringmain_bounds_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The text of the last error that a call on this thread returned; empty if there was none. Valid until the next
// call on this thread.
const char *ringmain_error(void);

// Opens `directory` with default settings, making it if it is missing, and recovers what the last run left. The
// engine is `*engine` until `ringmain_close`. `journal_file_bytes`: bytes of one journal file, of which there are up
// to four; 0: 64 MiB.
//
// # Safety
// `directory` is a string that ends in a zero; `engine` may be written.
ringmain_code ringmain_open(const char *directory,
                            uint64_t journal_file_bytes,
                            ringmain_engine **engine);

// Finishes everything asked so far and frees the engine; its logs answer `RINGMAIN_CODE_CLOSED` from then on.
//
// # Safety
// `engine` came from `ringmain_open` and is not used again.
ringmain_code ringmain_close(ringmain_engine *engine);

// The log with this id, made durably if there is none: `*log` until `ringmain_log_free`.
//
// # Safety
// `engine` came from `ringmain_open`; `log` may be written.
ringmain_code ringmain_log(const ringmain_engine *engine, uint64_t id, ringmain_log_t **log);

// Frees the handle; the log stays.
//
// # Safety
// `log` is null, or came from `ringmain_log` and is not used again.
void ringmain_log_free(ringmain_log_t *log);

// Asks for one record to be appended. `RINGMAIN_CODE_OK` means asked for: `appended` hears, once, what came of it, with
// `context`. The bytes are copied before this returns.
//
// # Safety
// `log` came from `ringmain_log`; `value_bytes` bytes can be read at `value`; `context` may be used on another thread.
ringmain_code ringmain_append(const ringmain_log_t *log,
                              const uint8_t *value,
                              size_t value_bytes,
                              ringmain_appended appended,
                              void *context);

// Appends one record and waits until it is durable; `offset` gets the one that it got, unless it is null.
//
// # Safety
// As of `ringmain_append`; `offset` is null or may be written.
ringmain_code ringmain_append_wait(const ringmain_log_t *log,
                                   const uint8_t *value,
                                   size_t value_bytes,
                                   uint64_t *offset);

// Reads records from offset `from` on, about `bytes_max` bytes of them, and calls `record` with each; `next` gets the
// offset to go on at, which is `from` if the log ends there.
//
// # Safety
// `log` came from `ringmain_log`; `next` may be written; `context` is what `record` wants.
ringmain_code ringmain_read(const ringmain_log_t *log,
                            uint64_t from,
                            size_t bytes_max,
                            ringmain_record record,
                            void *context,
                            uint64_t *next);

// What the log holds now.
//
// # Safety
// `log` came from `ringmain_log`; `bounds` may be written.
ringmain_code ringmain_bounds(const ringmain_log_t *log, ringmain_bounds_t *bounds);

// Drops everything below `before`, durably.
//
// # Safety
// `log` came from `ringmain_log`.
ringmain_code ringmain_trim_before(const ringmain_log_t *log, uint64_t before);

// Has the log end at `end`, durably: what it held from there on is gone.
//
// # Safety
// `log` came from `ringmain_log`.
ringmain_code ringmain_truncate_after(const ringmain_log_t *log, uint64_t end);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RINGMAIN_H */
