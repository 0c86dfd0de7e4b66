/* selftest.c: proof, before a kernel is used, that it computes on this machine what the portable code does. */
#include <string.h>

#include "internal.h"

/* Blocks of the main chain, whose hashes begin (as numbers) with 32 zero bits or more. */
static const uint8_t blocks[][80] = {
    /* Block 0, hash 000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f. */
    {0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x00, 0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e,
     0x67, 0x76, 0x8f, 0x61, 0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa,
     0x4b, 0x1e, 0x5e, 0x4a, 0x29, 0xab, 0x5f, 0x49, 0xff, 0xff, 0x00, 0x1d, 0x1d, 0xac, 0x2b, 0x7c},
    /* Block 1, hash 00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048. */
    {0x01, 0x00, 0x00, 0x00, 0x6f, 0xe2, 0x8c, 0x0a, 0xb6, 0xf1, 0xb3, 0x72, 0xc1, 0xa6, 0xa2, 0x46,
     0xae, 0x63, 0xf7, 0x4f, 0x93, 0x1e, 0x83, 0x65, 0xe1, 0x5a, 0x08, 0x9c, 0x68, 0xd6, 0x19, 0x00,
     0x00, 0x00, 0x00, 0x00, 0x98, 0x20, 0x51, 0xfd, 0x1e, 0x4b, 0xa7, 0x44, 0xbb, 0xbe, 0x68, 0x0e,
     0x1f, 0xee, 0x14, 0x67, 0x7b, 0xa1, 0xa3, 0xc3, 0x54, 0x0b, 0xf7, 0xb1, 0xcd, 0xb6, 0x06, 0xe8,
     0x57, 0x23, 0x3e, 0x0e, 0x61, 0xbc, 0x66, 0x49, 0xff, 0xff, 0x00, 0x1d, 0x01, 0xe3, 0x62, 0x99},
};

enum { BLOCKS = sizeof blocks / sizeof *blocks };

static const uint8_t genesis_hash[32] = {0x6f, 0xe2, 0x8c, 0x0a, 0xb6, 0xf1, 0xb3, 0x72, 0xc1, 0xa6, 0xa2,
                                         0x46, 0xae, 0x63, 0xf7, 0x4f, 0x93, 0x1e, 0x83, 0x65, 0xe1, 0x5a,
                                         0x08, 0x9c, 0x68, 0xd6, 0x19, 0x00, 0x00, 0x00, 0x00, 0x00};

/* The job of a block with `count` versions, its own in `slot` and others in the rest. */
static void block_job(hm_job *job, const uint8_t header[80], uint32_t count, uint32_t slot)
{
    static const uint8_t hardest[32] = {0};
    uint32_t versions[HM_MAX_VERSIONS];

    for (uint32_t k = 0; k < count; k++)
        versions[k] = hm_load_le(header) ^ (k ^ slot) << 13;
    hm_job_init(job, header, hardest, versions, count);
}

/* The block's nonce in every lane and its version in every slot; the group before it has no candidate. */
static int finds_block(const hm_kernel *kernel, const uint8_t header[80])
{
    uint32_t nonce = hm_load_le(header + 76);

    for (uint32_t slot = 0; slot < HM_MAX_VERSIONS; slot++) {
        hm_job job;
        block_job(&job, header, HM_MAX_VERSIONS, slot);
        for (uint32_t lane = 0; lane < kernel->lanes; lane++) {
            uint32_t masks[HM_MAX_VERSIONS] = {0};
            if (kernel->search(masks, &job, nonce - lane - kernel->lanes, 2) != 1)
                return 0;
            for (uint32_t k = 0; k < HM_MAX_VERSIONS; k++)
                if (masks[k] != (k == slot ? UINT32_C(1) << lane : 0))
                    return 0;
        }
    }
    return 1;
}

/* One group against the true top words of its hashes, `tops`, at a limit: what passes, and only that. */
static int agrees(const hm_kernel *kernel, const hm_job *job, uint32_t first,
                  uint32_t tops[HM_MAX_VERSIONS][HM_MAX_LANES])
{
    uint32_t expected[HM_MAX_VERSIONS] = {0}, masks[HM_MAX_VERSIONS] = {0}, any = 0;

    for (uint32_t k = 0; k < job->versions; k++) {
        for (uint32_t lane = 0; lane < kernel->lanes; lane++)
            expected[k] |= (uint32_t)(tops[k][lane] <= job->target_top) << lane;
        any |= expected[k];
    }
    if (kernel->search(masks, job, first, 1) != (any ? 0 : 1))
        return 0;
    return !any || memcmp(masks, expected, sizeof masks) == 0;
}

/* Easy targets, with every number of versions: the limit put exactly at one hash after the other, and just
 * below it, so that the comparison is tested at its edge and half of all hashes pass. */
static int judges_easy_targets(const hm_kernel *kernel, const uint8_t header[80])
{
    uint32_t first = UINT32_MAX - 1; /* so that the nonces wrap, as in the last group of a whole range */

    for (uint32_t count = 1; count <= HM_MAX_VERSIONS; count++, first += kernel->lanes) {
        uint32_t tops[HM_MAX_VERSIONS][HM_MAX_LANES];
        hm_job job;
        block_job(&job, header, count, 0);
        for (uint32_t k = 0; k < count; k++)
            for (uint32_t lane = 0; lane < kernel->lanes; lane++) {
                uint8_t hash[32];
                hm_hash_candidate(hash, &job, job.version[k], first + lane);
                tops[k][lane] = hm_load_le(hash + 28);
            }
        for (uint32_t k = 0; k < count; k++)
            for (uint32_t lane = 0; lane < kernel->lanes; lane++) {
                job.target_top = tops[k][lane];
                if (!agrees(kernel, &job, first, tops))
                    return 0;
                job.target_top--;
                if (!agrees(kernel, &job, first, tops))
                    return 0;
            }
    }
    return 1;
}

static int compresses(const hm_kernel *kernel)
{
    uint32_t expected[8], state[8];

    memcpy(expected, hm_initial, sizeof expected);
    memcpy(state, hm_initial, sizeof state);
    for (size_t count = 0; count <= 2; count++) {
        hm_compress(expected, blocks[0], count);
        kernel->compress(state, blocks[0], count);
        if (memcmp(state, expected, sizeof state) != 0)
            return 0;
    }
    return 1;
}

static int hashes_padded(const hm_kernel *kernel)
{
    uint8_t padded[128] = {0}, hash[32];

    memcpy(padded, blocks[0], sizeof blocks[0]);
    padded[80] = 0x80;
    padded[126] = HM_HEADER_BITS >> 8;
    padded[127] = HM_HEADER_BITS & 0xff;
    kernel->hash_padded(hash, padded, 2);
    return memcmp(hash, genesis_hash, sizeof hash) == 0;
}

int hm_self_test(const hm_kernel *kernel)
{
    uint8_t hash[32];

    hm_sha256d(hash, blocks[0], sizeof blocks[0]);
    if (memcmp(hash, genesis_hash, sizeof hash) != 0 || !compresses(kernel) ||
        !hashes_padded(kernel))
        return HM_FAULT;
    for (int i = 0; i < BLOCKS; i++)
        if (!finds_block(kernel, blocks[i]) || !judges_easy_targets(kernel, blocks[i]))
            return HM_FAULT;
    return HM_OK;
}
