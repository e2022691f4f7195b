/* What a C program does with Ringmain: appends with a callback and without, waits, reads, trims, truncates, makes
 * every mistake it can and hears of it. Prints one line. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringmain.h"

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, ringmain_error());         \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct appended { int count; int failed; uint64_t last; };

static void on_appended(void *context, ringmain_code code, uint64_t offset) {
    struct appended *appended = context;
    pthread_mutex_lock(&lock);
    appended->count++;
    appended->failed += code != RINGMAIN_CODE_OK;
    appended->last = offset;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

struct found { int records; size_t bytes; };

static int32_t on_record(void *context, uint64_t offset, const uint8_t *value, size_t value_bytes) {
    struct found *found = context;
    CHECK(offset >= 100 && value_bytes == 30 && value[0] == 'c');
    found->records++;
    found->bytes += value_bytes;
    return 0;
}

int main(int argc, char **argv) {
    ringmain_engine *engine = NULL, *again = NULL;
    ringmain_log_t *log = NULL;
    const uint8_t value[30] = "c: thirty bytes";
    CHECK(argc == 2);
    CHECK(ringmain_open(NULL, 0, &engine) == RINGMAIN_CODE_ARGUMENT);
    CHECK(ringmain_open(argv[1], 4097, &engine) == RINGMAIN_CODE_INCOMPATIBLE);
    CHECK(strstr(ringmain_error(), "4097") != NULL);
    CHECK(ringmain_open("/sys/ringmain", 0, &engine) == RINGMAIN_CODE_READ_ONLY);
    CHECK(ringmain_open(argv[1], 4 << 20, &engine) == RINGMAIN_CODE_OK);
    CHECK(ringmain_open(argv[1], 4 << 20, &again) == RINGMAIN_CODE_IN_USE && again == NULL);
    CHECK(ringmain_log(engine, 7, &log) == RINGMAIN_CODE_OK);

    struct appended appended = {0, 0, 0};
    for (int n = 0; n < 100; n++)
        CHECK(ringmain_append(log, value, sizeof value, on_appended, &appended) == RINGMAIN_CODE_OK);
    pthread_mutex_lock(&lock);
    while (appended.count < 100) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    CHECK(appended.failed == 0 && appended.last == 99);
    uint64_t offset = 0;
    for (uint64_t n = 100; n < 103; n++)
        CHECK(ringmain_append_wait(log, value, sizeof value, &offset) == RINGMAIN_CODE_OK && offset == n);

    struct found found = {0, 0};
    uint64_t next = 0;
    CHECK(ringmain_read(log, 100, 1 << 20, on_record, &found, &next) == RINGMAIN_CODE_OK);
    CHECK(ringmain_read(log, 999, 1 << 20, on_record, &found, &offset) == RINGMAIN_CODE_OUT_OF_RANGE);
    ringmain_bounds_t bounds;
    CHECK(ringmain_bounds(log, &bounds) == RINGMAIN_CODE_OK);
    CHECK(bounds.start == 0 && bounds.durable == 103 && bounds.end == 103);
    CHECK(ringmain_trim_before(log, 100) == RINGMAIN_CODE_OK);
    CHECK(ringmain_read(log, 0, 1, on_record, &found, &offset) == RINGMAIN_CODE_OUT_OF_RANGE);
    CHECK(ringmain_truncate_after(log, 50) == RINGMAIN_CODE_OUT_OF_RANGE);
    CHECK(ringmain_truncate_after(log, 101) == RINGMAIN_CODE_OK);
    CHECK(ringmain_bounds(log, &bounds) == RINGMAIN_CODE_OK);
    CHECK(ringmain_append_wait(log, NULL, 1, NULL) == RINGMAIN_CODE_ARGUMENT);
    uint8_t *large = calloc(1, 32 << 20);
    CHECK(large && ringmain_append_wait(log, large, 32 << 20, NULL) == RINGMAIN_CODE_BATCH);
    free(large);
    CHECK(ringmain_close(engine) == RINGMAIN_CODE_OK);
    CHECK(ringmain_append_wait(log, value, sizeof value, NULL) == RINGMAIN_CODE_CLOSED);
    ringmain_log_free(log);
    printf("%d records, %zu bytes, next %llu; trimmed to %llu; ends at %llu\n", found.records, found.bytes,
           (unsigned long long)next, (unsigned long long)bounds.start, (unsigned long long)bounds.end);
    return 0;
}
