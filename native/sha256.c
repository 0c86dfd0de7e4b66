/* sha256.c: SHA-256 (FIPS 180-4) in plain C11 for any byte order; what every kernel is measured against. */
#include <string.h>

#include "internal.h"

const uint32_t hm_initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

const uint32_t hm_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t big_sigma0(uint32_t x) { return hm_rotr(x, 2) ^ hm_rotr(x, 13) ^ hm_rotr(x, 22); }
static inline uint32_t big_sigma1(uint32_t x) { return hm_rotr(x, 6) ^ hm_rotr(x, 11) ^ hm_rotr(x, 25); }
static inline uint32_t choose(uint32_t x, uint32_t y, uint32_t z) { return z ^ (x & (y ^ z)); }
static inline uint32_t majority(uint32_t x, uint32_t y, uint32_t z) { return (x & y) | (z & (x | y)); }

/* One round. The words do not move: the next round is called with the names shifted by one. */
#define ROUND(a, b, c, d, e, f, g, h, wk)                     \
    do {                                                      \
        h += big_sigma1(e) + choose(e, f, g) + (wk);          \
        d += h;                                               \
        h += big_sigma0(a) + majority(a, b, c);               \
    } while (0)

void hm_rounds(uint32_t state[8], const uint32_t wk[64], unsigned first, unsigned last)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    unsigned i = first;

    for (; last - i >= 8; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, wk[i]);
        ROUND(h, a, b, c, d, e, f, g, wk[i + 1]);
        ROUND(g, h, a, b, c, d, e, f, wk[i + 2]);
        ROUND(f, g, h, a, b, c, d, e, wk[i + 3]);
        ROUND(e, f, g, h, a, b, c, d, wk[i + 4]);
        ROUND(d, e, f, g, h, a, b, c, wk[i + 5]);
        ROUND(c, d, e, f, g, h, a, b, wk[i + 6]);
        ROUND(b, c, d, e, f, g, h, a, wk[i + 7]);
    }
    for (; i < last; i++) {
        uint32_t newest;
        ROUND(a, b, c, d, e, f, g, h, wk[i]);
        newest = h;
        h = g, g = f, f = e, e = d, d = c, c = b, b = a, a = newest;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = d;
    state[4] = e, state[5] = f, state[6] = g, state[7] = h;
}

void hm_expand(uint32_t w[64], unsigned last)
{
    for (unsigned i = 16; i < last; i++)
        w[i] = w[i - 16] + hm_small_sigma0(w[i - 15]) + w[i - 7] + hm_small_sigma1(w[i - 2]);
}

/* In: w, words 0-15, with zero for those that vary.  Out: summands; sums below `fixed`. */
static void fold(uint32_t summands[64], uint32_t *sums, uint32_t w[64], unsigned fixed)
{
    for (unsigned i = 0; i < 64; i++) {
        summands[i] = 0;
        if (i >= 16) {
            summands[i] = w[i - 16] + hm_small_sigma0(w[i - 15]) + w[i - 7] + hm_small_sigma1(w[i - 2]);
            w[i] = i < fixed ? summands[i] : 0;
        }
        if (i < fixed)
            sums[i] = w[i] + hm_k[i];
    }
}

void hm_fold_constants(hm_folded *folded, const hm_job *job)
{
    uint32_t w[64] = {job->tail[0], job->tail[1], job->tail[2], 0, HM_END_MARK};

    w[15] = HM_HEADER_BITS;
    fold(folded->first, folded->first_sums, w, 18);
    memset(w, 0, sizeof w);
    w[8] = HM_END_MARK;
    w[15] = HM_DIGEST_BITS;
    fold(folded->second, folded->second_sums, w, 16);
}

void hm_compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    for (; count > 0; count--, blocks += 64) {
        uint32_t w[64], sum[8];
        for (int i = 0; i < 16; i++)
            w[i] = hm_load_be(blocks + 4 * i);
        hm_expand(w, 64);
        for (int i = 0; i < 64; i++)
            w[i] += hm_k[i];
        memcpy(sum, state, sizeof sum);
        hm_rounds(sum, w, 0, 64);
        for (int i = 0; i < 8; i++)
            state[i] += sum[i];
    }
}

void hm_stream_start(hm_stream *stream, hm_compress_function *compress)
{
    stream->compress = compress;
    memcpy(stream->state, hm_initial, sizeof stream->state);
    stream->length = 0;
}

void hm_stream_add(hm_stream *stream, const uint8_t *data, size_t length)
{
    size_t used = stream->length % 64;

    if (length == 0)
        return; /* and data may be null, which memcpy must not see */
    stream->length += length;
    if (used > 0) {
        size_t part = length < 64 - used ? length : 64 - used;
        memcpy(stream->pending + used, data, part);
        if (used + part < 64)
            return;
        stream->compress(stream->state, stream->pending, 1);
        data += part;
        length -= part;
    }
    stream->compress(stream->state, data, length / 64);
    memcpy(stream->pending, data + length / 64 * 64, length % 64);
}

static void store_state(uint8_t digest[32], const uint32_t state[8])
{
    for (int i = 0; i < 8; i++)
        hm_store_be(digest + 4 * i, state[i]);
}

/* The padding that ends a message, then the state as bytes. */
static void finish(uint8_t digest[32], hm_stream *stream)
{
    size_t used = stream->length % 64;

    stream->pending[used++] = 0x80;
    if (used > 56) {
        memset(stream->pending + used, 0, 64 - used);
        stream->compress(stream->state, stream->pending, 1);
        used = 0;
    }
    memset(stream->pending + used, 0, 56 - used);
    hm_store_be(stream->pending + 56, (uint32_t)(stream->length >> 29));
    hm_store_be(stream->pending + 60, (uint32_t)(stream->length << 3));
    stream->compress(stream->state, stream->pending, 1);
    store_state(digest, stream->state);
}

void hm_stream_finish_double(uint8_t digest[32], hm_stream *stream)
{
    uint8_t once[32];

    finish(once, stream);
    hm_stream_start(stream, stream->compress);
    hm_stream_add(stream, once, sizeof once);
    finish(digest, stream);
}

void hm_hash_padded(uint8_t digest[32], const uint8_t *blocks, size_t count)
{
    uint8_t once[32];
    hm_stream stream;

    hm_stream_start(&stream, hm_compress);
    hm_compress(stream.state, blocks, count);
    store_state(once, stream.state);
    hm_stream_start(&stream, hm_compress);
    hm_stream_add(&stream, once, sizeof once);
    finish(digest, &stream);
}

void hm_sha256d(uint8_t digest[32], const uint8_t *data, size_t length)
{
    hm_stream stream;

    hm_stream_start(&stream, hm_compress);
    hm_stream_add(&stream, data, length);
    hm_stream_finish_double(digest, &stream);
}

void hm_hash_candidate(uint8_t hash[32], const hm_job *job, uint32_t version, uint32_t nonce)
{
    uint8_t header[80];

    memcpy(header, job->header, sizeof header);
    hm_store_le(header, version);
    hm_store_le(header + 76, nonce);
    hm_sha256d(hash, header, sizeof header);
}
