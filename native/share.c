/* share.c: from a job and what a miner sent to the header and its hash. */
#include <string.h>

#include "internal.h"

/* The kernel in use; as long as there is none, the one that every machine runs. */
static const hm_kernel *kernel_in_use(void)
{
    const hm_kernel *kernel = hm_chosen();
    return kernel ? kernel : &hm_kernel_portable;
}

int hm_share_job_init(hm_share_job *job, const uint8_t *coinbase1, size_t coinbase1_length,
                      const uint8_t *coinbase2, size_t coinbase2_length, size_t payout_offset,
                      size_t payout_length, const uint8_t *branch, uint32_t branch_length,
                      const uint8_t prev_hash[32], uint32_t bits)
{
    hm_stream stream;

    if (branch_length > HM_MAX_BRANCH || payout_offset > coinbase2_length ||
        payout_length > coinbase2_length - payout_offset)
        return HM_INVALID;
    memset(job, 0, sizeof *job);
    hm_stream_start(&stream, kernel_in_use()->compress);
    hm_stream_add(&stream, coinbase1, coinbase1_length);
    memcpy(job->state, stream.state, sizeof job->state);
    memcpy(job->pending, stream.pending, stream.length % 64);
    job->coinbase1_length = coinbase1_length;
    job->coinbase2 = coinbase2;
    job->coinbase2_length = coinbase2_length;
    job->payout_offset = payout_offset;
    job->payout_length = payout_length;
    job->branch_length = branch_length;
    if (branch_length > 0)
        memcpy(job->branch, branch, (size_t)branch_length * 32);
    memcpy(job->prev_hash, prev_hash, sizeof job->prev_hash);
    job->bits = bits;
    return HM_OK;
}

static void add_coinbase2(hm_stream *stream, const hm_share_job *job, const uint8_t *payout, size_t payout_length)
{
    size_t after = job->payout_offset + job->payout_length;

    if (payout_length == 0 || job->payout_length == 0) {
        hm_stream_add(stream, job->coinbase2, job->coinbase2_length);
        return;
    }
    hm_stream_add(stream, job->coinbase2, job->payout_offset);
    hm_stream_add(stream, payout, payout_length);
    hm_stream_add(stream, job->coinbase2 + after, job->coinbase2_length - after);
}

void hm_share_header(uint8_t header[80], uint8_t hash[32], const hm_share_job *job, const uint8_t *extranonce1,
                     size_t extranonce1_length, const uint8_t *extranonce2, size_t extranonce2_length,
                     const uint8_t *payout, size_t payout_length, uint32_t ntime, uint32_t nonce,
                     uint32_t version)
{
    /* Two nodes of the tree, and a header, each with the padding that a message of its length ends with. */
    uint8_t pair[128] = {[64] = 0x80, [126] = 512 >> 8};
    uint8_t block[128] = {[80] = 0x80, [126] = HM_HEADER_BITS >> 8, [127] = HM_HEADER_BITS & 0xff};
    const hm_kernel *kernel = kernel_in_use();
    hm_stream stream;

    stream.compress = kernel->compress;
    memcpy(stream.state, job->state, sizeof stream.state);
    memcpy(stream.pending, job->pending, sizeof stream.pending);
    stream.length = job->coinbase1_length;
    hm_stream_add(&stream, extranonce1, extranonce1_length);
    hm_stream_add(&stream, extranonce2, extranonce2_length);
    add_coinbase2(&stream, job, payout, payout_length);
    hm_stream_finish_double(pair, &stream);
    for (uint32_t i = 0; i < job->branch_length; i++) {
        memcpy(pair + 32, job->branch[i], 32);
        kernel->hash_padded(pair, pair, 2);
    }

    hm_store_le(block, version);
    memcpy(block + 4, job->prev_hash, 32);
    memcpy(block + 36, pair, 32);
    hm_store_le(block + 68, ntime);
    hm_store_le(block + 72, job->bits);
    hm_store_le(block + 76, nonce);
    kernel->hash_padded(hash, block, 2);
    memcpy(header, block, 80);
}
