//! Every compile-time limit of the engine, its unit in its name, its reason beside it.
//!
//! What an owner of logs meets:
//!
//! | of | limits |
//! |---|---|
//! | one batch | [`BATCH_BYTES_MAX`]; decompressed, [`RECORDS_BYTES_MAX`] |
//! | one log | [`PRODUCERS_MAX`] idempotent producers, [`PRODUCER_BATCHES_MAX`] batches of each |
//! | one shard | [`LOGS_MAX`] logs; [`JOURNAL_WAITING_BYTES_MAX`] waiting for the device |
//! | journal files | [`JOURNAL_FILE_BYTES`] unless configured, at most [`JOURNAL_FILE_BYTES_MAX`]; [`JOURNAL_FILES_MAX`] a shard |
//! | segments | [`SEGMENT_BYTES`], in runs of [`RUN_BYTES`] |
//! | the file system | [`FREE_BYTES_MIN`] must be left |
//!
//! The others bound what the engine does beside appends: how many reads and writes of segments are under way at a time,
//! what is kept in memory, how often something is looked at. [`Sizes`] are those that tests make smaller.

/// Direct I/O is aligned to this many bytes in memory, in the file and in length.
/// 4096 is the physical sector of nearly every device; writing less makes the device read first.
pub const BLOCK_BYTES: usize = 4096;
/// What a device writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// Largest record batch, header included. RabbitMQ's default largest message is 16 MiB, plus room for its
/// properties and the batch around it.
pub const BATCH_BYTES_MAX: usize = (16 << 20) + (256 << 10);

/// Most that the records of one batch may come to when they are decompressed. Text shrinks to a quarter or a
/// tenth; and what a client sends is bounded before compression by its own limits, mostly a mebibyte.
pub const RECORDS_BYTES_MAX: usize = 8 * BATCH_BYTES_MAX;

/// Frame buffers are cut out of chunks of this size, so that many small frames share one allocation.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A frame takes no further batch once its body is this long; one batch may still make it longer.
pub const FRAME_BODY_BYTES_MAX: usize = 1 << 20;

/// A journal file, unless configured otherwise; filled with zeros once and then written over for ever.
pub const JOURNAL_FILE_BYTES: u64 = 64 << 20;

/// Largest journal file that can be configured, and so the largest frame anyone has to believe in.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 1 << 30;

/// Journal files one shard uses; when all are full, appends wait for a checkpoint.
pub const JOURNAL_FILES_MAX: usize = 4;

/// Frames waiting for the one in flight; beyond these bytes the owner should stop taking appends.
pub const JOURNAL_WAITING_BYTES_MAX: usize = 16 << 20;

/// A journal that has been quiet for so long gets a frame that says all before it is durable.
pub const SEAL_AFTER_US: u64 = 50_000;

/// Steps of settling under way at a time. Where thousands of logs have a little each, most of a step is waiting; more
/// than the kernel has workers for would wait there.
pub const SETTLES_IN_FLIGHT_MAX: usize = 16;

/// Long runs being written into segments at a time: a frame's flush waits for what is being written beside it. Another is begun while it
/// is less than that, so that where batches do not fill a run there are two.
pub const LONG_RUNS_IN_FLIGHT_MAX: usize = 1;

/// Segments of one shard whose files are kept open. Opening one again takes a few microseconds; a process is often
/// allowed some thousand files, and connections need them too.
pub const OPEN_SEGMENTS_MAX: usize = 1024;

/// A checkpoint of so many files and directories syncs their file system rather than each of them, where that is as good.
/// Fewer are synced one by one, for it has to wait for what other programs have written, too.
pub const SYNC_ALL_MIN: usize = 256;

/// Runs being read from segments at a time. Few, for the same reason.
pub const READS_IN_FLIGHT_MAX: usize = 8;

/// While something is appended, runs are read one after the other, and so many bytes at a time: an append waits for no more than
/// that before it is the device's turn.
pub const COLD_READ_BYTES: usize = 128 << 10;

/// Something is appended: the last frame is no older than this.
pub const APPENDING_US: u64 = 10_000;

/// So many runs behind the one that somebody came to the front of are read ahead.
pub const RUNS_AHEAD: usize = 4;

/// Runs read from segments are kept up to these bytes, for readers that follow each other.
pub const RUN_CACHE_BYTES_MAX: usize = 16 << 20;

/// A tail of this size is settled into its segment as one run. With 1 MiB, and two at a time, appends in bulk to growing logs were 14 %
/// slower and their p99 was 1.6 times as long; with 256 KiB a single reader of old segments is slower.
pub const RUN_BYTES: usize = 512 << 10;

/// A log that has so much in one frame has it written straight into a segment, where there is one whose blocks exist. Two
/// writes and flushes beside each other cost more than one longer write and a copy, below.
pub const SECTION_BYTES_MIN: usize = 32 << 10;

/// The same where there is none and a new one has to be reserved: the file system notes that blocks are written the first time.
/// Less is faster through the journal and then into a segment.
pub const NEW_SECTION_BYTES_MIN: usize = 256 << 10;

/// A segment is reserved only if it takes no more than such a part of its shard's share of the room that is left.
pub const RESERVED_PART: u64 = 16;

/// No segment is reserved before the one being filled has such a part of its full size: whoever has much now and then would
/// be left with many small ones.
pub const FILLED_PART: u64 = 8;

/// What no segment has yet of a log goes into one run with the first section that is placed, up to so many runs of it: where
/// appends come as fast as they are settled, settling never catches up. With a section it is no more than the largest run.
pub const PLACED_BEFORE_RUNS_MAX: usize = 16;

/// As it is copied, all that goes in front of the sections of one frame is also no more than such a part of the memory. With half of
/// this and 48 MiB, a log with commits of a mebibyte did not get as far as to have any placed into reserved blocks.
pub const PLACED_BEFORE_PART: usize = 8;

/// A checkpoint is made when the bytes of so many segments were placed since the last: they take little of the journal, and a start reads
/// every run that the journal means.
pub const PLACED_SEGMENTS_MAX: u64 = 4;

/// A log whose segments hold less than so many times what may wait in front of a section has none reserved.
pub const RESERVED_BEFORES_MIN: u64 = 2;

/// Trimmed segments of a log kept to be used again.
pub const SPARES_MAX: usize = 2;

/// A segment that reached this size is sealed and the next one begun.
pub const SEGMENT_BYTES: u64 = 256 << 20;

/// Keys one compaction remembers, at about 40 bytes each; what does not fit is left to the next.
pub const COMPACTION_KEYS_MAX: usize = 1 << 19;

/// Runs whose keys one compaction notes.
pub const COMPACTION_RUNS_MAX: usize = 1 << 14;

/// Ranges of offsets that are dropped at a time, at 16 bytes each; those behind them wait for the next.
pub const DROPPED_RANGES_MAX: usize = 1 << 16;

/// A compaction reads or writes at most one run in such a time, so that appends are not held up.
pub const COMPACTION_STEP_US: u64 = 2_500;

/// Appends are refused while the file system has less room than this left. Enough for what is accepted already to
/// be settled in most cases; where it is not, settling waits and nothing is lost.
pub const FREE_BYTES_MIN: u64 = 64 << 20;

/// The room that is left is looked at so often while something is appended, or while there is too little.
pub const LOOK_FOR_ROOM_US: u64 = 1_000_000;

/// What found no room is tried again after so long.
pub const ROOM_AGAIN_US: u64 = 250_000;

/// The sizes of this module that change when things happen but not what they mean. Everybody uses the default; smaller
/// ones make files roll over and wrap all the time, which is what tests want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// [`CHUNK_BYTES`].
    pub chunk_bytes: usize,
    /// [`FRAME_BODY_BYTES_MAX`].
    pub frame_body_bytes: usize,
    /// [`RUN_BYTES`].
    pub run_bytes: usize,
    /// [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// [`SECTION_BYTES_MIN`].
    pub section_bytes_min: usize,
    /// [`NEW_SECTION_BYTES_MIN`].
    pub new_section_bytes_min: usize,
    /// [`COLD_READ_BYTES`], whole blocks.
    pub cold_read_bytes: usize,
    /// [`RUN_CACHE_BYTES_MAX`].
    pub run_cache_bytes: usize,
    /// [`OPEN_SEGMENTS_MAX`].
    pub open_segments_max: usize,
    /// [`SYNC_ALL_MIN`].
    pub sync_all_min: usize,
    /// Appends are refused while the file system has less room than this left; 0: only once there is none.
    pub free_bytes_min: u64,
    /// [`COMPACTION_STEP_US`].
    pub compaction_step_us: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            chunk_bytes: CHUNK_BYTES,
            frame_body_bytes: FRAME_BODY_BYTES_MAX,
            run_bytes: RUN_BYTES,
            segment_bytes: SEGMENT_BYTES,
            section_bytes_min: SECTION_BYTES_MIN,
            new_section_bytes_min: NEW_SECTION_BYTES_MIN,
            cold_read_bytes: COLD_READ_BYTES,
            run_cache_bytes: RUN_CACHE_BYTES_MAX,
            open_segments_max: OPEN_SEGMENTS_MAX,
            sync_all_min: SYNC_ALL_MIN,
            free_bytes_min: FREE_BYTES_MIN,
            compaction_step_us: COMPACTION_STEP_US,
        }
    }
}

/// Batches a producer may have sent again: as many as Kafka remembers for each producer and partition.
pub const PRODUCER_BATCHES_MAX: usize = 5;

/// Producers one log remembers; beyond it the one that wrote least recently is forgotten.
pub const PRODUCERS_MAX: usize = 10_000;

/// Logs one shard holds. The owner keeps to it: a log beyond it is not made.
pub const LOGS_MAX: usize = 400_000;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(COLD_READ_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(FRAME_BODY_BYTES_MAX <= CHUNK_BYTES);
const _: () = assert!(JOURNAL_FILE_BYTES.is_multiple_of(BLOCK_BYTES as u64));
const _: () = assert!(JOURNAL_FILE_BYTES >= 2 * (BATCH_BYTES_MAX as u64 + FRAME_BODY_BYTES_MAX as u64));
const _: () = assert!(SEGMENT_BYTES >= RUN_BYTES as u64);
const _: () = assert!(JOURNAL_FILE_BYTES <= JOURNAL_FILE_BYTES_MAX);
const _: () = assert!(JOURNAL_FILES_MAX >= 2);
