/* vector.h: the search with vectors, one nonce in each lane; included by a file for each instruction set.
 *
 * That file defines beforehand
 *   VECTOR                     the function attribute that names its instruction set;
 *   LANES                      how many 32-bit numbers a vector has;
 *   mask_of_at_most(x, top)    one bit for each lane of x that is at most the number `top`;
 *   rotr, xor3, choose, majority   all four of them, if it has better ones than those below.
 * The rest is written with the vectors that gcc and clang have as a type, on which + ^ >> work lane by lane.
 *
 * The shortcuts are those of scan_portable.c. Here they cost little to write down: all loops are unrolled, and the
 * compiler leaves out what no result depends on, such as most of rounds 57-60 of the second hash. What the words of
 * a schedule get from words that are the same in all lanes is summed up beforehand (hm_fold_constants).
 */
#include <string.h>

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#ifndef rotr
#define rotr(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define xor3(x, y, z) ((x) ^ (y) ^ (z))
#define choose(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define majority(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#endif

typedef uint32_t vec __attribute__((vector_size(4 * LANES)));

#define VECTOR_INLINE VECTOR static inline __attribute__((always_inline))

VECTOR_INLINE vec broadcast(uint32_t x) { return x - (vec){0}; }

VECTOR_INLINE vec small_sigma0(vec x) { return xor3(rotr(x, 7), rotr(x, 18), x >> 3); }
VECTOR_INLINE vec small_sigma1(vec x) { return xor3(rotr(x, 17), rotr(x, 19), x >> 10); }
VECTOR_INLINE vec big_sigma0(vec x) { return xor3(rotr(x, 2), rotr(x, 13), rotr(x, 22)); }
VECTOR_INLINE vec big_sigma1(vec x) { return xor3(rotr(x, 6), rotr(x, 11), rotr(x, 25)); }

/* Round t. The words do not move: that of the name n is s[(n - t) mod 8]. */
VECTOR_INLINE void vector_round(vec s[8], unsigned t, vec wk)
{
#define S(n) s[((n) - t) & 7]
    S(7) += big_sigma1(S(4)) + choose(S(4), S(5), S(6)) + wk;
    S(3) += S(7);
    S(7) += big_sigma0(S(0)) + majority(S(0), S(1), S(2));
#undef S
}

/* Word t of a schedule, from the last sixteen.  In: what it has from words that do not vary; which do, a bit each. */
VECTOR_INLINE vec next_word(const vec w[16], unsigned t, uint32_t constant, uint64_t varying)
{
    vec sum = broadcast(constant);

    if (varying >> (t - 16) & 1)
        sum += w[(t - 16) & 15];
    if (varying >> (t - 15) & 1)
        sum += small_sigma0(w[(t - 15) & 15]);
    if (varying >> (t - 7) & 1)
        sum += w[(t - 7) & 15];
    if (varying >> (t - 2) & 1)
        sum += small_sigma1(w[(t - 2) & 15]);
    return sum;
}

/* A job in the form the lanes take it. */
typedef struct {
    hm_folded fixed;
    uint32_t start[8]; /* of the second hash, after round 0 for a word of zero */
} vector_context;

/* Sums of words 18-63 of block 2 and constants. */
VECTOR_INLINE void schedule(vec wk[64], const vector_context *ctx, vec nonce)
{
    vec w[16];

    w[3] = nonce;
    UNROLL for (unsigned t = 18; t < 64; t++) {
        w[t & 15] = next_word(w, t, t < 34 ? ctx->fixed.first[t] : 0, HM_FIRST_VARYING);
        wk[t] = w[t & 15] + broadcast(hm_k[t]);
    }
}

/* H7 of the hashes under version k. */
VECTOR_INLINE vec hash_last(const hm_job *job, uint32_t k, const vector_context *ctx, vec nonce, const vec wk[64])
{
    vec s[8], w[16];

    /* Before round 4 the names are those of s[(n - 4) mod 8]. */
    for (unsigned i = 0; i < 8; i++)
        s[(i - 4) & 7] = broadcast(job->head[k][i]);
    s[4] += nonce;
    s[0] += nonce;
    UNROLL for (unsigned t = 4; t < 64; t++)
        vector_round(s, t, t < 18 ? broadcast(ctx->fixed.first_sums[t]) : wk[t]);

    for (unsigned i = 0; i < 8; i++)
        w[i] = s[i] + broadcast(job->midstate[k][i]);
    for (unsigned i = 0; i < 8; i++)
        s[(i - 1) & 7] = broadcast(ctx->start[i]);
    s[7] += w[0];
    s[3] += w[0];
    UNROLL for (unsigned t = 1; t < 61; t++) {
        if (t >= 16)
            w[t & 15] = next_word(w, t, t < 32 ? ctx->fixed.second[t] : 0, HM_SECOND_VARYING);
        vector_round(s, t, t < 8 || t >= 16 ? w[t & 15] + broadcast(hm_k[t]) : broadcast(ctx->fixed.second_sums[t]));
    }
    return s[(4 - 61) & 7] + broadcast(hm_initial[7]);
}

VECTOR_INLINE vec swap_bytes(vec x)
{
    return x >> 24 | (x >> 8 & 0xff00) | (x << 8 & 0xff0000) | x << 24;
}

VECTOR static uint32_t search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    vector_context ctx;
    vec lanes, wk[64];

    hm_fold_constants(&ctx.fixed, job);
    memcpy(ctx.start, hm_initial, sizeof ctx.start);
    hm_rounds(ctx.start, hm_k, 0, 1);
    for (uint32_t i = 0; i < LANES; i++)
        lanes[i] = i;
    for (uint32_t group = 0; group < groups; group++, first += LANES) {
        const vec nonce = swap_bytes(broadcast(first) + lanes);
        uint32_t any = 0;
        schedule(wk, &ctx, nonce);
        for (uint32_t k = 0; k < job->versions; k++) {
            vec number = swap_bytes(hash_last(job, k, &ctx, nonce, wk));
            masks[k] = mask_of_at_most(number, job->target_top);
            any |= masks[k];
        }
        if (any)
            return group;
    }
    return groups;
}
