/* submissions.c: the set of hashes and the judge of submit lines, at the edges of their memory and on lines that no
 * miner sends. What verdicts are right is proven in Python (tests/miner/work/test_judged_in_c.py). */
#include <math.h>
#include <string.h>

#include "checks.h"

/* ---- The set of hashes ---- */

static uint64_t *slots_of(uint32_t bits)
{
    uint64_t *slots = calloc((size_t)2 << bits, sizeof *slots);
    CHECK(slots);
    return slots;
}

/* A hash that is one of `many`, with little difference between the slots they belong to. */
static void crowded_hash(uint8_t hash[32], uint32_t which, int crowd)
{
    memset(hash, 0, 32);
    if (crowd)
        hm_store_le(hash + 8, which + 1); /* all of them belong to the same slot */
    else
        for (int i = 0; i < 4; i++)
            hm_store_le(hash + 4 * i, (which + 1) * 2654435761u + (uint32_t)i * which);
}

static void test_set(int crowd, uint32_t most)
{
    hm_seen seen = {.seed = 0x9e3779b97f4a7c15u};
    uint64_t *old = NULL, *slots = NULL;
    uint8_t hash[32];

    crowded_hash(hash, 0, crowd);
    CHECK(!hm_seen_has(&seen, hash) && hm_seen_add(&seen, hash) == HM_FULL);
    for (uint32_t i = 0; i < most; i++) {
        crowded_hash(hash, i, crowd);
        CHECK(!hm_seen_has(&seen, hash));
        if (seen.count == seen.room && !seen.old_slots) {
            uint32_t bits = seen.bits + 1;
            CHECK(hm_seen_add(&seen, hash) == HM_FULL);
            free(old);
            old = slots;
            slots = slots_of(bits);
            CHECK(hm_seen_move(&seen, slots, bits, (UINT64_C(1) << bits) - 1) == HM_OK);
        }
        CHECK(hm_seen_add(&seen, hash) == 1);
        CHECK(seen.count == i + 1);
        for (uint32_t k = i > 40 ? i - 40 : 0; k <= i; k++) {
            crowded_hash(hash, k, crowd);
            CHECK(hm_seen_has(&seen, hash) && hm_seen_add(&seen, hash) == 0);
        }
    }
    for (uint32_t i = 0; i < most; i++) {
        crowded_hash(hash, i, crowd);
        CHECK(hm_seen_has(&seen, hash));
    }
    free(old);
    free(slots);
}

static void test_arguments_of_set(void)
{
    hm_seen seen = {.seed = 1};
    uint64_t *two = slots_of(1), *four = slots_of(2), *eight = slots_of(3);
    uint8_t hash[32] = {0}, other[32] = {1};

    CHECK(hm_seen_move(&seen, two, 0, 0) == HM_INVALID && hm_seen_move(&seen, two, 41, 0) == HM_INVALID);
    CHECK(hm_seen_move(&seen, two, 1, 2) == HM_INVALID); /* without a free slot a search would never end */
    CHECK(hm_seen_move(&seen, two, 1, 1) == HM_OK);
    CHECK(hm_seen_add(&seen, hash) == 1); /* all zero, as a free slot is */
    CHECK(hm_seen_has(&seen, hash) && !hm_seen_has(&seen, other) && hm_seen_add(&seen, other) == HM_FULL);
    CHECK(hm_seen_move(&seen, four, 2, 0) == HM_INVALID); /* less room than hashes */
    CHECK(hm_seen_move(&seen, four, 2, 3) == HM_OK);
    CHECK(hm_seen_move(&seen, eight, 3, 7) == HM_INVALID); /* the last move is not over */
    CHECK(hm_seen_has(&seen, hash) && hm_seen_add(&seen, other) == 1 && !seen.old_slots);
    CHECK(hm_seen_has(&seen, hash) && hm_seen_has(&seen, other));
    free(two);
    free(four);
    free(eight);
}

static void test_records_of_set(void)
{
    hm_seen seen = {.seed = 3};
    uint64_t *slots = slots_of(4);
    uint8_t records[12 * HM_RECORD];

    fill(records, sizeof records);
    for (uint32_t i = 0; i < 12; i++)
        hm_store_le(records + HM_RECORD * i + 4, i % 3);
    CHECK(hm_seen_move(&seen, slots, 4, 6) == HM_OK);
    CHECK(hm_seen_add_records(&seen, records, 12, 1) == 12 && seen.count == 4);
    CHECK(hm_seen_add_records(&seen, records, 12, 1) == 12 && seen.count == 4);
    CHECK(hm_seen_add_records(&seen, records, 12, 9) == 12 && seen.count == 4);
    CHECK(hm_seen_add_records(&seen, records, 12, 0) == 6 && seen.count == 6); /* the third one has no room */
    CHECK(hm_seen_has(&seen, records + HM_RECORD + 32) && !hm_seen_has(&seen, records + 2 * HM_RECORD + 32));
    free(slots);
}

/* ---- Lines ---- */

enum { SLOTS = 14, RECORDS = 2000, ANSWERS = 4096 };

/* A session on a board with one job, whose every hash is a share and none a block. */
typedef struct {
    hm_share_job job;
    hm_seen seen;
    hm_board board;
    hm_outbox outbox;
    hm_tally tally;
    hm_taker taker;
    uint64_t *slots;
} desk;

static const char worker[] = "bc1qexample.rig";

static void open_desk(desk *d, size_t answers_capacity)
{
    static const uint8_t coinbase[150], branch[12][32], prev_hash[32];
    hm_board_job *job;
    uint8_t all[32];

    memset(d, 0, sizeof *d);
    memset(all, 0xff, sizeof all);
    CHECK(hm_share_job_init(&d->job, coinbase, 60, coinbase, 90, 13, 23, branch[0], 12, prev_hash, 0x1d00ffff) == HM_OK);
    d->seen.seed = 0x9e3779b97f4a7c15u;
    d->slots = slots_of(SLOTS);
    CHECK(hm_seen_move(&d->seen, d->slots, SLOTS, (1 << SLOTS) * 3 / 4) == HM_OK);
    job = &d->board.jobs[0x1a % HM_BOARD_JOBS];
    *job = (hm_board_job){.present = 1, .serial = 0x1a, .job = &d->job, .seen = &d->seen, .version = 0x20000000,
                          .version_mask = 0x1fffe000, .min_time = 0x60000000, .max_time = 0x70000000,
                          .good_until = INFINITY, .tip = 7, .extranonce1_length = 4, .extranonce2_length = 8};
    d->outbox.records = malloc((size_t)RECORDS * HM_RECORD);
    d->outbox.capacity = RECORDS;
    d->outbox.answers = malloc(answers_capacity);
    d->outbox.answers_capacity = answers_capacity;
    CHECK(d->outbox.records && d->outbox.answers);
    d->taker.board = &d->board;
    d->taker.outbox = &d->outbox;
    d->taker.tally = &d->tally;
    d->taker.worker = (const uint8_t *)worker;
    d->taker.worker_length = strlen(worker);
    d->taker.unit = 5;
    d->taker.extranonce1_length = 4;
    d->taker.rolls_version = 1;
    d->taker.version_mask = 0x1fffe000;
    CHECK(hm_taker_set_level(&d->taker, 0, 0, 0.5, all) == HM_OK);
}

static void close_desk(desk *d)
{
    free(d->slots);
    free(d->outbox.records);
    free(d->outbox.answers);
}

/* The bytes in a buffer of their own on the heap, where the sanitizer watches its ends.  Returns: what was consumed. */
static size_t take(desk *d, const char *bytes, size_t length)
{
    uint8_t *chunk = malloc(length ? length : 1);
    size_t end;

    CHECK(chunk);
    memcpy(chunk, bytes, length);
    end = hm_take(&d->taker, chunk, length, 0, 100.0);
    free(chunk);
    CHECK(end <= length && (end == 0 || bytes[end - 1] == '\n'));
    CHECK(d->outbox.answers_length <= d->outbox.answers_capacity);
    CHECK(d->outbox.count == d->tally.accepted && d->outbox.count == d->seen.count);
    return end;
}

static const char *const good_lines[] = {
    "{\"params\": [\"bc1qexample.rig\", \"1a\", \"%08x00000001\", \"64000000\", \"%08x\"], \"id\": 4, \"method\": \"mining.submit\"}\n",
    "{\"id\":\"a-1\",\"method\":\"mining.submit\",\"params\":[\"bc1qexample.rig\",\"1a\",\"%08x00000002\",\"64000000\",\"%08X\",\"00C0a000\"]}\r\n",
    "\t{ \"id\" : null , \"ttl\":8,\"x\":-1.5,\"y\":true,\"z\":null,\"method\" : \"mining.submit\" , \"params\" : [ \"bc1qexample.rig\" , \"1a.0\" , \"%08x00000003\" , \"64000000\" , \"%08x\" , \"ffffffff\" ] } \n",
};
enum { GOOD_LINES = sizeof good_lines / sizeof *good_lines };

static size_t good_line(char line[HM_MAX_LINE], uint32_t which, uint32_t number)
{
    /* The formats are those above: two words of 32 bits each. */
    return (size_t)snprintf(line, HM_MAX_LINE, good_lines[which % GOOD_LINES], number, number * 7919);
}

static void test_good_lines(desk *d)
{
    char line[HM_MAX_LINE];

    for (uint32_t i = 0; i < GOOD_LINES; i++) {
        size_t length = good_line(line, i, i);
        CHECK(take(d, line, length) == length && d->taker.accepted == 1 && d->taker.ended == HM_ENDED_DONE);
        CHECK(d->tally.accepted == i + 1 && d->tally.work == 0.5 * (i + 1) && d->tally.last_share_at == 100.0);
        CHECK(take(d, line, length) == length && d->taker.rejected == 1);
        CHECK(d->tally.rejected[HM_REASON_DUPLICATE] == i + 1);
    }
    CHECK(hm_load_le(d->outbox.records) == 5 && hm_load_le(d->outbox.records + 4) == 7);
}

/* Every beginning of a line, with and without an end of line: nothing is taken but the whole line. */
static void test_cut_lines(desk *d)
{
    char line[HM_MAX_LINE];

    for (uint32_t i = 0; i < GOOD_LINES; i++) {
        size_t length = good_line(line, i, 100 + i);
        uint64_t before = d->tally.accepted;
        for (size_t cut = 0; cut < length - 2; cut++) {
            char kept = line[cut];
            CHECK(take(d, line, cut) == 0);
            line[cut] = '\n';
            CHECK(take(d, line, cut + 1) == 0 || kept == ' ' || kept == '\r');
            line[cut] = kept;
        }
        CHECK(take(d, line, length) == length);
        CHECK(d->tally.accepted <= before + 1);
    }
}

/* Lines with bytes changed, lost and doubled: whatever they are, the books stay in order. */
static void test_damaged_lines(desk *d)
{
    static const char odd[] = "{}[]\",:\\ \t\n\r0123456789abcfFx.-+eE\x01\x7f\x80\xff";
    char line[3 * HM_MAX_LINE];
    uint32_t whole = 0;

    for (uint32_t i = 0; i < 60000; i++) {
        size_t length = good_line(line, next_random(), i);
        for (uint32_t changes = 1 + next_random() % 3; changes > 0; changes--) {
            size_t at = next_random() % length, rest = length - at;
            switch (next_random() % 4) {
            case 0: line[at] = odd[next_random() % (sizeof odd - 1)]; break;
            case 1: line[at] = (char)next_random(); break;
            case 2: memmove(line + at, line + at + 1, rest - 1); length--; break;
            default: memmove(line + at + 1, line + at, rest); length++; break;
            }
        }
        whole += take(d, line, length) == length;
        d->outbox.count = d->tally.accepted = d->seen.count = 0;
        memset(d->slots, 0, sizeof *d->slots * 2 << SLOTS);
        memset(d->tally.rejected, 0, sizeof d->tally.rejected);
    }
    CHECK(whole > 100 && whole < 30000);
}

/* Chunks of lines that no buffer was made for. */
static void test_huge_lines(desk *d)
{
    size_t length = 300000;
    char *chunk = malloc(length);
    char line[HM_MAX_LINE];
    static const char fillers[] = " {[\"\\1a\n";

    CHECK(chunk);
    for (size_t i = 0; i < sizeof fillers - 1; i++) {
        memset(chunk, fillers[i], length);
        chunk[length - 1] = '\n';
        CHECK(take(d, chunk, length) == 0);
    }
    /* A good line, blown up with space: one byte more than may be is one too many. */
    for (size_t extra = 0; extra < 2; extra++) {
        size_t short_one = good_line(line, 0, (uint32_t)(900 + extra)) - 1, total = HM_MAX_LINE + extra;
        memset(chunk, ' ', total);
        memcpy(chunk, line, short_one - 1);
        chunk[total - 1] = '}';
        chunk[total] = '\n';
        CHECK(take(d, chunk, total + 1) == (extra ? 0 : total + 1));
    }
    free(chunk);
}

/* The core asks for room and goes on where it stopped. */
static void test_room(void)
{
    enum { LINES = 300 };
    static char chunk[LINES * HM_MAX_LINE];
    size_t length = 0, done = 0;
    uint32_t asked[5] = {0}, answered = 0;
    desk d;

    open_desk(&d, HM_MAX_ANSWER);
    d.seen.room = 10;
    d.outbox.capacity = 5;
    for (uint32_t i = 0; i < LINES; i++)
        length += good_line(chunk + length, i, i % 291);
    while (done < length) {
        done += take(&d, chunk + done, length - done);
        answered += d.taker.accepted + d.taker.rejected;
        asked[d.taker.ended]++;
        if (d.taker.ended == HM_ENDED_SEEN)
            d.seen.room += 10;
        if (d.taker.ended == HM_ENDED_RECORDS)
            d.outbox.capacity += 5;
        CHECK(d.taker.ended != HM_ENDED_OTHER);
        CHECK(d.taker.ended != HM_ENDED_SEEN || d.taker.wants_room == 0x1a % HM_BOARD_JOBS);
    }
    CHECK(answered == LINES && d.tally.accepted == 291 && d.tally.rejected[HM_REASON_DUPLICATE] == 9);
    CHECK(asked[HM_ENDED_SEEN] == 29 && asked[HM_ENDED_RECORDS] == 58 && asked[HM_ENDED_ANSWERS] > 100);
    close_desk(&d);
}

static void test_levels(void)
{
    hm_taker taker = {0};
    uint8_t target[32] = {0};

    for (uint64_t number = 3; number < 30; number += 2) {
        CHECK(hm_taker_set_level(&taker, number, number, 1.0, target) == HM_OK);
        CHECK(hm_taker_set_level(&taker, number, number, 2.0, target) == HM_OK);
        CHECK(hm_taker_set_level(&taker, number - 1, number, 3.0, target) == HM_INVALID);
        CHECK(taker.levels[taker.level_count - 1].difficulty == 2.0);
    }
    CHECK(taker.level_count == HM_LEVELS);
    for (uint64_t i = 0; i < HM_LEVELS; i++)
        CHECK(taker.levels[i].number == 29 - 2 * (HM_LEVELS - 1 - i));
}

void test_submissions(void)
{
    desk d;

    test_set(0, 5000);
    test_set(1, 300);
    test_arguments_of_set();
    test_records_of_set();
    test_levels();
    test_room();
    open_desk(&d, ANSWERS);
    CHECK(take(&d, "", 0) == 0);
    test_good_lines(&d);
    test_cut_lines(&d);
    test_damaged_lines(&d);
    test_huge_lines(&d);
    close_desk(&d);
}
