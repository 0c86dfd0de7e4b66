/* share.c: from a job and what a miner sent to the header and its hash. */
#include <string.h>

#include "internal.h"

static hm_compress_function *compress_in_use(void)
{
    const hm_kernel *kernel = hm_chosen();
    return kernel ? kernel->compress : hm_compress;
}

int hm_share_job_init(hm_share_job *job, const uint8_t *coinbase1, size_t coinbase1_length,
                      const uint8_t *coinbase2, size_t coinbase2_length, const uint8_t *branch,
                      uint32_t branch_length, const uint8_t prev_hash[32], uint32_t bits)
{
    hm_stream stream;

    if (branch_length > HM_MAX_BRANCH)
        return HM_INVALID;
    memset(job, 0, sizeof *job);
    hm_stream_start(&stream, compress_in_use());
    hm_stream_add(&stream, coinbase1, coinbase1_length);
    memcpy(job->state, stream.state, sizeof job->state);
    memcpy(job->pending, stream.pending, stream.length % 64);
    job->coinbase1_length = coinbase1_length;
    job->coinbase2 = coinbase2;
    job->coinbase2_length = coinbase2_length;
    job->branch_length = branch_length;
    if (branch_length > 0)
        memcpy(job->branch, branch, (size_t)branch_length * 32);
    memcpy(job->prev_hash, prev_hash, sizeof job->prev_hash);
    job->bits = bits;
    return HM_OK;
}

void hm_share_header(uint8_t header[80], uint8_t hash[32], const hm_share_job *job, const uint8_t *extranonce1,
                     size_t extranonce1_length, const uint8_t *extranonce2, size_t extranonce2_length,
                     uint32_t ntime, uint32_t nonce, uint32_t version)
{
    uint8_t *root = header + 36;
    hm_stream stream;

    stream.compress = compress_in_use();
    memcpy(stream.state, job->state, sizeof stream.state);
    memcpy(stream.pending, job->pending, sizeof stream.pending);
    stream.length = job->coinbase1_length;
    hm_stream_add(&stream, extranonce1, extranonce1_length);
    hm_stream_add(&stream, extranonce2, extranonce2_length);
    hm_stream_add(&stream, job->coinbase2, job->coinbase2_length);
    hm_stream_finish_double(root, &stream);
    for (uint32_t i = 0; i < job->branch_length; i++) {
        hm_stream_start(&stream, stream.compress);
        hm_stream_add(&stream, root, 32);
        hm_stream_add(&stream, job->branch[i], 32);
        hm_stream_finish_double(root, &stream);
    }

    hm_store_le(header, version);
    memcpy(header + 4, job->prev_hash, 32);
    hm_store_le(header + 68, ntime);
    hm_store_le(header + 72, job->bits);
    hm_store_le(header + 76, nonce);
    hm_stream_start(&stream, stream.compress);
    hm_stream_add(&stream, header, 80);
    hm_stream_finish_double(hash, &stream);
}
