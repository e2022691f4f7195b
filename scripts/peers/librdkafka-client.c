/* A producer that costs librdkafka as little as it can, and librdkafka's own mock broker.
 *
 * In: the command line below. Out: one line of figures on standard output. Never: counts a record without its delivery
 * report, or before it.
 *
 *   librdkafka-client produce BOOTSTRAP TOPIC RECORDS VALUE_BYTES [K=V ...]
 *   librdkafka-client produce-mock CORE PARTITIONS RECORDS VALUE_BYTES [K=V ...]
 *
 * produce-mock has its broker in the same process; the broker's threads are put on CORE unless it is negative.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint32_t *latencies_us;
static uint64_t delivered_count, failed_count;
static char failure[256];

static uint64_t now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "librdkafka-client: %s: %s\n", what, why);
    exit(1);
}

/* The record's number of microseconds when it was handed over comes back as its opaque. */
static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client;
    (void)opaque;
    if (message->err) {
        if (!failed_count++)
            snprintf(failure, sizeof failure, "%s", rd_kafka_err2str(message->err));
        return;
    }
    uint64_t waited_us = now_us() - (uint64_t)(uintptr_t)message->_private;
    latencies_us[delivered_count++] = waited_us > UINT32_MAX ? UINT32_MAX : (uint32_t)waited_us;
}

static int ascending(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static rd_kafka_t *start(const char *bootstrap, int count, char **settings) {
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* The mock broker's host has no broker of its own, and need not say so. */
    const char *name = bootstrap ? "bootstrap.servers" : "log_level";
    if (rd_kafka_conf_set(conf, name, bootstrap ? bootstrap : "3", error, sizeof error))
        die(name, error);
    for (int i = 0; i < count; i++) {
        char *equals = strchr(settings[i], '=');
        if (!equals)
            die(settings[i], "not K=V");
        *equals = 0;
        if (rd_kafka_conf_set(conf, settings[i], equals + 1, error, sizeof error))
            die(settings[i], error);
    }
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client)
        die("start a producer", error);
    return client;
}

/* Threads of the mock broker go to the core where other brokers are. */
static void place_mock(int core) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    while (tasks && (entry = readdir(tasks))) {
        char path[300], name[64] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(name, sizeof name, file) && strstr(name, "mock")) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(core, &set);
            sched_setaffinity(atoi(entry->d_name), sizeof set, &set);
        }
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
}

static void produce(rd_kafka_t *client, const char *topic, uint64_t records, size_t bytes) {
    char error[512];
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    if (!handle)
        die(topic, rd_kafka_err2str(rd_kafka_last_error()));
    /* Metadata and connections are there before the clock starts. */
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t outcome = rd_kafka_metadata(client, 0, handle, &metadata, 20000);
    if (outcome)
        die("ask for metadata", rd_kafka_err2str(outcome));
    rd_kafka_metadata_destroy(metadata);
    char *value = malloc(bytes ? bytes : 1);
    latencies_us = malloc(records * sizeof *latencies_us);
    if (!value || !latencies_us)
        die("start", "out of memory");
    uint64_t state = 0x2545f4914f6cdd1d;
    for (size_t i = 0; i < bytes; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        value[i] = (char)state;
    }
    uint64_t begin_us = now_us();
    for (uint64_t i = 0; i < records && !failed_count; i++) {
        while (rd_kafka_produce(handle, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, bytes, NULL, 0,
                                (void *)(uintptr_t)now_us())) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                die("produce", rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_poll(client, 1);
        }
        if (i % 256 == 0)
            rd_kafka_poll(client, 0);
    }
    while (delivered_count + failed_count < records && now_us() - begin_us < 120000000 && !failed_count)
        rd_kafka_poll(client, 10);
    double seconds = (double)(now_us() - begin_us) / 1e6;
    if (failed_count || delivered_count < records) {
        snprintf(error, sizeof error, "%" PRIu64 " of %" PRIu64 " records were delivered %s", delivered_count, records, failure);
        die("produce", error);
    }
    qsort(latencies_us, records, sizeof *latencies_us, ascending);
    printf("records=%" PRIu64 " seconds=%.6f p50_us=%u p99_us=%u\n", records, seconds, latencies_us[records / 2],
           latencies_us[records - 1 - records / 100]);
    fflush(stdout);
    rd_kafka_topic_destroy(handle);
}

int main(int count, char **words) {
    if (count >= 6 && !strcmp(words[1], "produce")) {
        rd_kafka_t *client = start(words[2], count - 6, words + 6);
        produce(client, words[3], strtoull(words[4], NULL, 10), strtoull(words[5], NULL, 10));
        rd_kafka_destroy(client);
        return 0;
    }
    if (count >= 6 && !strcmp(words[1], "produce-mock")) {
        rd_kafka_t *host = start(NULL, 0, NULL);
        rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(host, 1);
        if (!mock || rd_kafka_mock_topic_create(mock, "mock", atoi(words[3]), 1))
            die("start", "the mock broker did not start");
        if (atoi(words[2]) >= 0)
            place_mock(atoi(words[2]));
        rd_kafka_t *client = start(rd_kafka_mock_cluster_bootstraps(mock), count - 6, words + 6);
        produce(client, "mock", strtoull(words[4], NULL, 10), strtoull(words[5], NULL, 10));
        rd_kafka_destroy(client);
        rd_kafka_mock_cluster_destroy(mock);
        rd_kafka_destroy(host);
        return 0;
    }
    fprintf(stderr, "librdkafka-client produce|produce-mock ...\n");
    return 2;
}
