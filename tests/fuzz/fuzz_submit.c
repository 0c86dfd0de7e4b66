/* fuzz_submit.c: the judge of submit lines under libFuzzer and the sanitizers.
 *
 * The first bytes of an input furnish the desk (how much room for answers, records and hashes, which version bits,
 * levels and payout), the rest are what a miner sends. campaign.py builds and runs it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

enum { SETTINGS = 6, JOBS = 4, FIRST_SERIAL = 0x1a2, MOST_RECORDS = 4096, BITS = 10 };

static const char worker[] = "rig";
static const uint8_t payout[] = {3, 0x51, 0x52, 0x53};
static const double now = 1700000700.0;

typedef struct {
    hm_share_job jobs[JOBS];
    hm_seen seen;
    hm_board board;
    hm_outbox outbox;
    hm_tally tally;
    hm_taker taker;
    uint64_t *slots;
} desk;

/* On the heap, of exactly this size: the sanitizer watches its end. */
static void *exactly(size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);

    CHECK(memory);
    return memory;
}

/* Job 0 is current; 1 is good until now, 2 has been stale for ever, and of 3 every second hash is a block. */
static void put_jobs(desk *d)
{
    static const uint8_t branch[3][32] = {{1}, {2}, {3}}, prev_hash[32] = {9};
    static const uint8_t coinbase[150] = {7};
    static const double good_until[JOBS] = {INFINITY, now, -INFINITY, INFINITY};

    for (uint32_t i = 0; i < JOBS; i++) {
        uint64_t serial = FIRST_SERIAL + i;
        hm_board_job *job = &d->board.jobs[serial % HM_BOARD_JOBS];
        CHECK(hm_share_job_init(&d->jobs[i], coinbase, 60 + i, coinbase, 90, 13, i == 1 ? 0 : 23, branch[0], i, prev_hash,
                                0x1d00ffff) == HM_OK);
        *job = (hm_board_job){.present = 1, .serial = serial, .job = &d->jobs[i], .seen = &d->seen,
                              .version = 0x20000000, .version_mask = 0x1fffe000, .min_time = 0x6553f000,
                              .max_time = 0x65542000, .good_until = good_until[i], .tip = 7,
                              .extranonce1_length = 4, .extranonce2_length = i == 2 ? 2 : 8};
        memset(job->target, i == 3 ? 0xff : 0, 31);
        job->target[31] = i == 3 ? 0x7f : 0;
    }
}

static void open_desk(desk *d, const uint8_t settings[SETTINGS])
{
    static const size_t answers[] = {HM_MAX_ANSWER, HM_MAX_ANSWER + 1, 1000, 32768};
    uint8_t target[32];

    memset(d, 0, sizeof *d);
    put_jobs(d);
    d->seen.seed = 0x9e3779b97f4a7c15u;
    d->slots = exactly(((size_t)2 << BITS) * sizeof *d->slots);
    CHECK(hm_seen_move(&d->seen, d->slots, BITS, (uint64_t)1 + settings[0]) == HM_OK);
    d->outbox.answers_capacity = answers[settings[1] % 4];
    d->outbox.answers = exactly(d->outbox.answers_capacity);
    d->outbox.capacity = (uint64_t)1 + settings[2];
    d->outbox.records = exactly((size_t)d->outbox.capacity * HM_RECORD);
    d->taker.board = &d->board;
    d->taker.outbox = &d->outbox;
    d->taker.tally = &d->tally;
    d->taker.worker = (const uint8_t *)worker;
    d->taker.worker_length = strlen(worker);
    d->taker.extranonce1_length = 4;
    d->taker.rolls_version = settings[3] & 1;
    d->taker.version_mask = settings[3] & 2 ? 0x1fffe000 : 0xffffffff;
    d->taker.payout = settings[3] & 4 ? payout : NULL;
    d->taker.payout_length = settings[3] & 4 ? sizeof payout : 0;
    for (uint32_t i = 0; i < settings[4] % 12u; i++) {
        /* The newest meets every hash, the ones before fewer and fewer. */
        memset(target, 0xff >> (settings[4] % 12u - 1 - i), sizeof target);
        CHECK(hm_taker_set_level(&d->taker, 1 + 2 * i, FIRST_SERIAL - 3 + i, 0.5, target) == HM_OK);
    }
}

/* What was said and what was counted since the books were `before` must agree. */
static void check_answers(const desk *d, const desk *before)
{
    static const char *const endings[] = {
        ",\"result\":true,\"error\":null}\n",
        ",\"result\":null,\"error\":[21,\"Stale share\",null]}\n",
        ",\"result\":null,\"error\":[22,\"Duplicate share\",null]}\n",
        ",\"result\":null,\"error\":[23,\"Low difficulty share\",null]}\n",
    };
    uint64_t said[4] = {0};
    const char *at = d->outbox.answers, *end = at + d->outbox.answers_length;

    CHECK(d->outbox.answers_length <= d->outbox.answers_capacity);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length, which = 0;
        CHECK(newline);
        length = (size_t)(newline + 1 - at);
        CHECK(length <= HM_MAX_ANSWER && length > 6 && memcmp(at, "{\"id\":", 6) == 0);
        for (; which < 4; which++) {
            size_t tail = strlen(endings[which]);
            if (length > 6 + tail && memcmp(newline + 1 - tail, endings[which], tail) == 0)
                break;
        }
        CHECK(which < 4);
        said[which]++;
        at = newline + 1;
    }
    CHECK(said[0] == d->taker.accepted && said[1] + said[2] + said[3] == d->taker.rejected);
    CHECK(said[0] == d->tally.accepted - before->tally.accepted);
    CHECK(said[0] == d->outbox.count - before->outbox.count && said[0] == d->seen.count - before->seen.count);
    for (uint32_t reason = 0; reason < HM_MAX_REASONS; reason++)
        CHECK(d->tally.rejected[reason] - before->tally.rejected[reason] == (reason >= 1 && reason <= 3 ? said[reason] : 0));
    CHECK(d->outbox.count <= d->outbox.capacity && d->seen.count <= d->seen.room);
    CHECK(fabs(d->tally.work - 0.5 * (double)d->tally.accepted) < 1e-6);
}

/* Give what the core asks for, in steps of one, up to a limit.  Returns: 1 if there is room now. */
static int make_room(desk *d)
{
    uint8_t *bigger;

    switch (d->taker.ended) {
    case HM_ENDED_SEEN:
        CHECK(d->seen.count == d->seen.room && d->board.jobs[d->taker.wants_room].present);
        d->seen.room += d->seen.room < (1u << BITS) - 1;
        return d->seen.count < d->seen.room;
    case HM_ENDED_RECORDS:
        CHECK(d->outbox.count == d->outbox.capacity);
        if (d->outbox.capacity >= MOST_RECORDS)
            return 0;
        bigger = exactly((size_t)(d->outbox.capacity + 1) * HM_RECORD);
        memcpy(bigger, d->outbox.records, (size_t)d->outbox.count * HM_RECORD);
        free(d->outbox.records);
        d->outbox.records = bigger;
        d->outbox.capacity++;
        return 1;
    default: return d->taker.ended == HM_ENDED_ANSWERS;
    }
}

/* Every record is of the desk's unit, time and jobs, and no hash is credited twice. */
static void check_records(const desk *d)
{
    for (uint64_t i = 0; i < d->outbox.count; i++) {
        const uint8_t *record = d->outbox.records + i * HM_RECORD;
        uint32_t serial = hm_load_le(record + 24);
        CHECK(hm_load_le(record) == 0 && hm_load_le(record + 4) == 7 && memcmp(record + 8, &now, 8) == 0);
        CHECK(serial >= FIRST_SERIAL && serial < FIRST_SERIAL + JOBS && hm_load_le(record + 28) == 0);
        for (uint64_t k = 0; k < i; k++)
            CHECK(memcmp(record + 32, d->outbox.records + k * HM_RECORD + 32, 32) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length, start = 0;
    uint8_t *chunk;
    desk d;

    if (size < SETTINGS)
        return 0;
    length = size - SETTINGS;
    chunk = exactly(length);
    memcpy(chunk, data + SETTINGS, length);
    open_desk(&d, data);
    while (start < length) {
        desk before = d;
        size_t end = hm_take(&d.taker, chunk, length, start, now);
        const uint8_t *newline;
        CHECK(end >= start && end <= length && (end == start || chunk[end - 1] == '\n'));
        check_answers(&d, &before);
        start = end;
        if (d.taker.ended == HM_ENDED_DONE) {
            CHECK(!memchr(chunk + start, '\n', length - start));
            break;
        }
        if (make_room(&d))
            continue;
        newline = memchr(chunk + start, '\n', length - start); /* Python's part: it goes on behind the line */
        CHECK(newline);
        start = (size_t)(newline - chunk) + 1;
    }
    check_records(&d);
    free(chunk);
    free(d.slots);
    free(d.outbox.records);
    free(d.outbox.answers);
    return 0;
}
