/* core.c: the C core tested from C, so that it can run under the sanitizers (test_core.py builds and runs it).
 * What Python can see is tested in tests/miner/test_kernel.py; here are the faults and the edges of memory. */
#include <string.h>

#include "checks.h"

static const uint32_t go; /* a stop word that is never set */

uint32_t next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

void fill(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)next_random();
}

static void random_job(hm_job *job, uint32_t count, uint32_t target_top)
{
    uint8_t header[80], target[32];
    uint32_t versions[HM_MAX_VERSIONS];

    fill(header, sizeof header);
    fill(target, sizeof target);
    hm_store_le(target + 28, target_top);
    for (uint32_t k = 0; k < count; k++)
        versions[k] = next_random();
    CHECK(hm_job_init(job, header, target, versions, count) == HM_OK);
}

/* The kernels that this machine can run. */
static const hm_kernel *usable(int i)
{
    static const hm_kernel *const all[] = {
#if HM_X86
        &hm_kernel_joint,  &hm_kernel_shani, &hm_kernel_avx512,
        &hm_kernel_avx2, &hm_kernel_sse2,
#endif
#if HM_ARMV8
        &hm_kernel_armv8,
#endif
        &hm_kernel_portable,
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (all[k]->supported() && i-- == 0)
            return all[k];
    return NULL;
}

/* ---- A good kernel with one fault put in ---- */

enum fault { NONE, BLIND, SEES_TOO_MUCH, SKIPS_GROUPS, IGNORES_TARGET, WRONG_COMPRESS, WRONG_HASH };

static struct {
    const hm_kernel *kernel;
    enum fault fault;
    uint32_t lane, slot;
} broken;

static uint32_t broken_search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    hm_job copy = *job;
    uint32_t bit = UINT32_C(1) << broken.lane, any = 0, quiet;

    if (broken.fault == IGNORES_TARGET)
        copy.target_top = 0;
    quiet = broken.kernel->search(masks, &copy, first, groups);
    if (quiet == groups || broken.slot >= job->versions)
        return quiet;
    if (broken.fault == BLIND)
        masks[broken.slot] &= ~bit;
    if (broken.fault == SEES_TOO_MUCH)
        masks[broken.slot] |= bit;
    if (broken.fault == SKIPS_GROUPS && quiet > 0)
        return quiet - 1;
    for (uint32_t k = 0; k < job->versions; k++)
        any |= masks[k];
    return any ? quiet : groups;
}

static void broken_compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    broken.kernel->compress(state, blocks, count);
    if (broken.fault == WRONG_COMPRESS && count > 0)
        state[broken.lane & 7] ^= 1;
}

static void broken_hash_padded(uint8_t digest[32], const uint8_t *blocks, size_t count)
{
    broken.kernel->hash_padded(digest, blocks, count);
    if (broken.fault == WRONG_HASH)
        digest[broken.lane & 31] ^= 1;
}

static int always(void) { return 1; }

static int result_with(enum fault fault, uint32_t lane, uint32_t slot)
{
    hm_kernel kernel = {"broken", broken.kernel->lanes, always, broken_compress, broken_hash_padded, broken_search};
    broken.fault = fault;
    broken.lane = lane;
    broken.slot = slot;
    return hm_self_test(&kernel);
}

static void test_self_test_catches_faults(const hm_kernel *kernel)
{
    broken.kernel = kernel;
    CHECK(result_with(NONE, 0, 0) == HM_OK);
    for (uint32_t lane = 0; lane < kernel->lanes; lane++)
        for (uint32_t slot = 0; slot < HM_MAX_VERSIONS; slot++) {
            CHECK(result_with(BLIND, lane, slot) == HM_FAULT);
            CHECK(result_with(SEES_TOO_MUCH, lane, slot) == HM_FAULT);
        }
    CHECK(result_with(SKIPS_GROUPS, 0, 0) == HM_FAULT);
    CHECK(result_with(IGNORES_TARGET, 0, 0) == HM_FAULT);
    for (uint32_t word = 0; word < 8; word++)
        CHECK(result_with(WRONG_COMPRESS, word, 0) == HM_FAULT);
    for (uint32_t byte = 0; byte < 32; byte++)
        CHECK(result_with(WRONG_HASH, byte, 0) == HM_FAULT);
}

/* ---- Scan ---- */

/* Every hit of a range by the simplest means; returns their number. */
static uint32_t all_hits(hm_hit *hits, const hm_job *job, uint32_t first, uint64_t count)
{
    uint32_t found = 0;

    for (uint64_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < job->versions; k++) {
            uint32_t nonce = first + (uint32_t)i;
            uint8_t hash[32];
            int byte = 31;
            hm_hash_candidate(hash, job, job->version[k], nonce);
            while (byte > 0 && hash[byte] == job->target[byte])
                byte--;
            if (hash[byte] > job->target[byte])
                continue;
            hits[found].nonce = nonce;
            hits[found].version = job->version[k];
            memcpy(hits[found].hash, hash, sizeof hash);
            found++;
        }
    return found;
}

/* A range scanned with a buffer of exactly `capacity` hits on the heap, where the sanitizer watches its end,
 * and continued until it is done. */
static void scan_and_compare(const hm_kernel *kernel, const hm_job *job, uint32_t first, uint64_t count,
                             uint32_t capacity)
{
    hm_hit *expected = malloc((size_t)(count * job->versions + 1) * sizeof *expected);
    hm_hit *hits = malloc(capacity * sizeof *hits);
    uint32_t total = 0, seen = 0;
    uint64_t done = 0;

    CHECK(expected && hits);
    total = all_hits(expected, job, first, count);
    while (done < count) {
        uint64_t scanned;
        int32_t found = hm_scan_with(hits, capacity, &scanned, kernel, job, first + (uint32_t)done, count - done, &go);
        CHECK(found >= 0 && (uint32_t)found <= capacity && scanned > 0 && scanned <= count - done);
        CHECK(seen + (uint32_t)found <= total);
        for (int32_t i = 0; i < found; i++, seen++) {
            CHECK(hits[i].nonce == expected[seen].nonce && hits[i].version == expected[seen].version);
            CHECK(memcmp(hits[i].hash, expected[seen].hash, 32) == 0);
            CHECK((uint32_t)(hits[i].nonce - first) < done + scanned);
        }
        done += scanned;
    }
    CHECK(seen == total);
    free(expected);
    free(hits);
}

static void test_scan(const hm_kernel *kernel)
{
    static const uint32_t tops[] = {0x00ffffff, 0x7fffffff, 0x80000000, 0xffffffff};

    for (uint32_t versions = 1; versions <= HM_MAX_VERSIONS; versions++)
        for (size_t t = 0; t < sizeof tops / sizeof *tops; t++) {
            hm_job job;
            random_job(&job, versions, tops[t]);
            scan_and_compare(kernel, &job, next_random() & ~31u, 3 * kernel->lanes + versions % 5, versions);
            scan_and_compare(kernel, &job, next_random() | 1, 2 * kernel->lanes + 1, versions + 3);
            scan_and_compare(kernel, &job, 0, kernel->lanes, 64);
            scan_and_compare(kernel, &job, UINT32_MAX - kernel->lanes, (uint64_t)kernel->lanes + 1, 64);
            scan_and_compare(kernel, &job, UINT32_MAX, 1, 64);
        }
}

static void test_arguments_of_scan(const hm_kernel *kernel)
{
    const uint32_t stop = 1;
    hm_hit hits[4];
    uint64_t scanned = 99;
    hm_job job;
    uint8_t header[80] = {0}, target[32] = {0};
    uint32_t versions[HM_MAX_VERSIONS + 1] = {0};

    CHECK(hm_job_init(&job, header, target, versions, 0) == HM_INVALID);
    CHECK(hm_job_init(&job, header, target, versions, HM_MAX_VERSIONS + 1) == HM_INVALID);
    random_job(&job, 4, UINT32_MAX);
    CHECK(hm_scan_with(hits, 3, &scanned, kernel, &job, 0, 1, &go) == HM_INVALID && scanned == 0);
    CHECK(hm_scan_with(hits, 4, &scanned, kernel, &job, 1, UINT64_C(1) << 32, &go) == HM_INVALID);
    CHECK(hm_scan_with(hits, 4, &scanned, kernel, &job, 0, UINT64_MAX, &go) == HM_INVALID);
    CHECK(hm_scan_with(hits, 4, &scanned, kernel, &job, 0, 0, &go) == 0 && scanned == 0);
    CHECK(hm_scan_with(hits, 4, &scanned, kernel, &job, 0, 100, &stop) == 0 && scanned == 0);
    /* A target above every hash: each nonce gives four hits, and four fit. */
    memset(job.target, 0xff, sizeof job.target);
    CHECK(hm_scan_with(hits, 4, &scanned, kernel, &job, 0, UINT64_C(1) << 32, &go) == 4 && scanned == 1);
}

/* ---- Shares ---- */

/* The header and hash of a share rebuilt from whole messages. */
static void plain_share(uint8_t header[80], uint8_t hash[32], const uint8_t *coinbase, size_t length,
                        uint8_t branch[][32], uint32_t levels, const uint8_t prev_hash[32])
{
    uint8_t pair[64];

    hm_sha256d(pair, coinbase, length);
    for (uint32_t i = 0; i < levels; i++) {
        memcpy(pair + 32, branch[i], 32);
        hm_sha256d(pair, pair, sizeof pair);
    }
    hm_store_le(header, 0x20000000);
    memcpy(header + 4, prev_hash, 32);
    memcpy(header + 36, pair, 32);
    hm_store_le(header + 68, 1700000000);
    hm_store_le(header + 72, 0x1d00ffff);
    hm_store_le(header + 76, 0xdeadbeef);
    hm_sha256d(hash, header, 80);
}

static void test_share(void)
{
    uint8_t coinbase[400], branch[HM_MAX_BRANCH][32], prev_hash[32];

    fill(coinbase, sizeof coinbase);
    fill(branch[0], sizeof branch);
    fill(prev_hash, sizeof prev_hash);
    for (size_t one = 0; one <= 130; one++) {
        uint32_t levels = (uint32_t)one % (HM_MAX_BRANCH + 1);
        size_t extra1 = one % 5, extra2 = one * 7 % 71, two = one * 13 % 190;
        size_t before = one * 5 % (two + 1), paid = one * 3 % (two - before + 1), other = one % 45;
        const uint8_t *coinbase2 = coinbase + one + extra1 + extra2;
        uint8_t header[80], hash[32], expected_header[80], expected_hash[32], payout[45], changed[500];
        hm_share_job job;

        CHECK(hm_share_job_init(&job, coinbase, one, coinbase2, two, before, paid, branch[0], levels, prev_hash,
                                0x1d00ffff) == HM_OK);
        hm_share_header(header, hash, &job, coinbase + one, extra1, coinbase + one + extra1, extra2, NULL, 0,
                        1700000000, 0xdeadbeef, 0x20000000);
        plain_share(expected_header, expected_hash, coinbase, one + extra1 + extra2 + two, branch, levels, prev_hash);
        CHECK(memcmp(header, expected_header, 80) == 0 && memcmp(hash, expected_hash, 32) == 0);

        /* Another payout in the place of the job's; a job without such a place has only its own. */
        fill(payout, sizeof payout);
        hm_share_header(header, hash, &job, coinbase + one, extra1, coinbase + one + extra1, extra2, payout, other,
                        1700000000, 0xdeadbeef, 0x20000000);
        if (paid > 0 && other > 0) {
            size_t start = one + extra1 + extra2 + before;
            memcpy(changed, coinbase, start);
            memcpy(changed + start, payout, other);
            memcpy(changed + start + other, coinbase + start + paid, two - before - paid);
            plain_share(expected_header, expected_hash, changed, start + other + two - before - paid, branch, levels,
                        prev_hash);
        }
        CHECK(memcmp(header, expected_header, 80) == 0 && memcmp(hash, expected_hash, 32) == 0);
    }
}

static void test_arguments_of_share(void)
{
    uint8_t branch[HM_MAX_BRANCH + 1][32] = {{0}}, prev_hash[32] = {0}, header[80], hash[32];
    hm_share_job job;

    CHECK(hm_share_job_init(&job, NULL, 0, NULL, 0, 0, 0, branch[0], HM_MAX_BRANCH + 1, prev_hash, 0) == HM_INVALID);
    CHECK(hm_share_job_init(&job, NULL, 0, branch[0], 9, 10, 0, NULL, 0, prev_hash, 0) == HM_INVALID);
    CHECK(hm_share_job_init(&job, NULL, 0, branch[0], 9, 5, 5, NULL, 0, prev_hash, 0) == HM_INVALID);
    CHECK(hm_share_job_init(&job, NULL, 0, branch[0], 9, SIZE_MAX, 2, NULL, 0, prev_hash, 0) == HM_INVALID);
    CHECK(hm_share_job_init(&job, NULL, 0, branch[0], 9, 5, 4, NULL, 0, prev_hash, 0) == HM_OK);
    CHECK(hm_share_job_init(&job, NULL, 0, NULL, 0, 0, 0, NULL, 0, prev_hash, 0) == HM_OK);
    hm_share_header(header, hash, &job, NULL, 0, NULL, 0, NULL, 0, 0, 0, 0);
    hm_sha256d(hash, NULL, 0);
    CHECK(memcmp(header + 36, hash, 32) == 0);
}

static void test_table(void)
{
    int count = hm_kernel_count();
    uint64_t scanned;
    hm_hit hits[1];
    hm_job job;

    random_job(&job, 1, 0);
    CHECK(hm_kernel_selected() == HM_INVALID);
    CHECK(hm_scan(hits, 1, &scanned, &job, 0, 1, &go) == HM_UNSUPPORTED && scanned == 0);
    CHECK(count >= 1 && strcmp(hm_kernel_name(count - 1), "portable") == 0 && hm_kernel_supported(count - 1));
    for (int i = -1; i <= count; i += count + 1) {
        CHECK(!hm_kernel_name(i) && !hm_kernel_lanes(i) && !hm_kernel_supported(i));
        CHECK(hm_kernel_self_test(i) == HM_INVALID && hm_kernel_select(i) == HM_INVALID);
    }
    test_share(); /* works with the portable code as long as nothing is chosen */
    for (int i = 0; i < count; i++) {
        if (!hm_kernel_supported(i)) {
            CHECK(hm_kernel_select(i) == HM_UNSUPPORTED);
            continue;
        }
        CHECK(hm_kernel_lanes(i) >= 1 && hm_kernel_lanes(i) <= HM_MAX_LANES);
        CHECK(hm_kernel_select(i) == HM_OK && hm_kernel_selected() == i);
        CHECK(hm_scan(hits, 1, &scanned, &job, 5, 1000, &go) == 0 && scanned == 1000);
        test_share();
    }
}

int main(void)
{
    const hm_kernel *kernel;

    test_table();
    test_arguments_of_share();
    test_submissions();
    for (int i = 0; (kernel = usable(i)) != NULL; i++) {
        test_arguments_of_scan(kernel);
        test_scan(kernel);
        test_self_test_catches_faults(kernel);
        printf("%s: good\n", kernel->name);
    }
    CHECK(hm_calibrate(1000) == 1008);
    return 0;
}
