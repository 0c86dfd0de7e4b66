/* scan_shani.c: the search with the SHA instructions of x86, four nonces side by side.
 *
 * sha256rnds2 makes two rounds and takes four cycles, but a new one can start in each: one chain of rounds
 * leaves the unit idle three times out of four, and four independent chains, interleaved, fill it. The
 * shortcuts are those of scan_portable.c, and these:
 *   - The parts of the message schedules that do not see the nonce are folded into constants.
 *   - The schedule of block 2, with the round constants added, is made beside the rounds of the first version,
 *     kept, and reused by all others.
 *   - Round 0 of the second hash starts from constants, so that, like round 3 of the first, it is an addition
 *     to two words of the state. Rounds 1-60 remain: thirty instructions, none of them wasted, if the schedule
 *     is made in quads that begin at words 1, 5, 9 and so on.
 *
 * The instructions keep a state in two registers, named by their words, most significant first: ABEF and CDGH.
 * AVX is asked for because of its forms with three operands: without them a third of the time goes into copies.
 */
#include "internal.h"

#if HM_X86
#include <immintrin.h>
#include <string.h>

#define SHANI __attribute__((target("sha,avx")))
#define SHANI_INLINE static inline __attribute__((always_inline, target("sha,avx")))

enum { LANES = 4 };

/* Loops over constants that must be unrolled, so that what they index can live in registers. */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* Do something with every lane i. */
#define EACH for (int i = 0; i < LANES; i++)

/* Four lanes have 24 words of state and schedule but 16 registers. Left to itself the compiler moves all of
 * them to and fro; so quads of the schedule are put into memory when they are made, and are used from there as
 * operands, while states stay in registers. This is worth a tenth of the speed. */
#define KEEP_IN_MEMORY(x) __asm__ volatile("" : "+m"(x))

/* Words in the order of the message, as they lie in memory; sets in intrinsics are the other way round. */
#define QUAD(w0, w1, w2, w3) _mm_set_epi32((int)(w3), (int)(w2), (int)(w1), (int)(w0))

/* Words a0 and a1 of x, then b0 and b1 of y. */
#define PICK(x, y, a0, a1, b0, b1) \
    _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(x), _mm_castsi128_ps(y), _MM_SHUFFLE(b1, b0, a1, a0)))

typedef struct {
    __m128i abef, cdgh;
} shani_state;

SHANI_INLINE __m128i load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }

SHANI_INLINE shani_state state_from(const uint32_t s[8])
{
    shani_state state = {QUAD(s[5], s[4], s[1], s[0]), QUAD(s[7], s[6], s[3], s[2])};
    return state;
}

/* Four rounds.  In: sums of words and constants. */
SHANI_INLINE void four_rounds(shani_state *s, __m128i wk)
{
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, wk);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/* Four rounds in every lane with the same sums. */
SHANI_INLINE void four_rounds_alike(shani_state s[LANES], __m128i wk)
{
    const __m128i high = _mm_shuffle_epi32(wk, 0x0e);
    EACH s[i].cdgh = _mm_sha256rnds2_epu32(s[i].cdgh, s[i].abef, wk);
    EACH s[i].abef = _mm_sha256rnds2_epu32(s[i].abef, s[i].cdgh, high);
}

/* The quad of words after four quads: w[t] = w[t-16] + s0(w[t-15]) + w[t-7] + s1(w[t-2]). */
SHANI_INLINE __m128i next_quad(__m128i q16, __m128i q12, __m128i q8, __m128i q4)
{
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(q16, q12), _mm_alignr_epi8(q4, q8, 4));
    return _mm_sha256msg2_epu32(sum, q4);
}

/* One block into a state.  In: q, its words; they are lost. */
SHANI_INLINE void add_block(shani_state *sum, __m128i q[4])
{
    shani_state s = *sum;

    UNROLL for (int t = 0; t < 16; t++) {
        if (t >= 4)
            q[t & 3] = next_quad(q[t & 3], q[(t + 1) & 3], q[(t + 2) & 3], q[(t + 3) & 3]);
        four_rounds(&s, _mm_add_epi32(q[t & 3], load(hm_k + 4 * t)));
    }
    sum->abef = _mm_add_epi32(sum->abef, s.abef);
    sum->cdgh = _mm_add_epi32(sum->cdgh, s.cdgh);
}

/* Between bytes and the words that they are in a message or a digest. */
SHANI_INLINE __m128i turned(__m128i quad)
{
    return _mm_shuffle_epi8(quad, _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
}

SHANI_INLINE void add_blocks(shani_state *sum, const uint8_t *blocks, size_t count)
{
    for (; count > 0; count--, blocks += 64) {
        __m128i q[4];
        for (int t = 0; t < 4; t++)
            q[t] = turned(load(blocks + 16 * t));
        add_block(sum, q);
    }
}

/* Words of a state in the order of a digest. */
SHANI_INLINE __m128i words_0_to_3(shani_state s) { return PICK(s.abef, s.cdgh, 3, 2, 3, 2); }
SHANI_INLINE __m128i words_4_to_7(shani_state s) { return PICK(s.abef, s.cdgh, 1, 0, 1, 0); }

SHANI void hm_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    shani_state sum = state_from(state);

    add_blocks(&sum, blocks, count);
    _mm_storeu_si128((__m128i *)state, words_0_to_3(sum));
    _mm_storeu_si128((__m128i *)(state + 4), words_4_to_7(sum));
}

SHANI void hm_hash_padded_shani(uint8_t digest[32], const uint8_t *blocks, size_t count)
{
    const shani_state initial = state_from(hm_initial);
    shani_state sum = initial;
    __m128i q[4];

    add_blocks(&sum, blocks, count);
    q[0] = words_0_to_3(sum);
    q[1] = words_4_to_7(sum);
    q[2] = QUAD(HM_END_MARK, 0, 0, 0);
    q[3] = QUAD(0, 0, 0, HM_DIGEST_BITS);
    sum = initial;
    add_block(&sum, q);
    _mm_storeu_si128((__m128i *)digest, turned(words_0_to_3(sum)));
    _mm_storeu_si128((__m128i *)(digest + 16), turned(words_4_to_7(sum)));
}

/* What of the schedule of block 2 does not depend on the nonce. */
typedef struct {
    __m128i words16; /* words 16-19 for a nonce word of zero */
    __m128i words20; /* what words 20-23 get besides s1 of words 18-21 */
    __m128i words28; /* what words 28-31 get besides words 21-24 and s1 */
} constants;

SHANI_INLINE constants constants_of(const hm_job *job)
{
    uint32_t w[18] = {job->tail[0], job->tail[1], job->tail[2], 0, HM_END_MARK};
    constants c;

    w[15] = HM_HEADER_BITS;
    w[16] = w[0] + hm_small_sigma0(w[1]);
    w[17] = w[1] + hm_small_sigma0(w[2]) + hm_small_sigma1(w[15]);
    c.words16 = QUAD(w[16], w[17], w[2] + hm_small_sigma1(w[16]), hm_small_sigma0(w[4]) + hm_small_sigma1(w[17]));
    c.words20 = QUAD(w[4], 0, w[15], w[16]);
    c.words28 = QUAD(0, 0, hm_small_sigma0(w[15]), w[15] + hm_small_sigma0(w[16]));
    return c;
}

/* Rounds 4-15 of block 2, whose words are padding. The round constants stand here as numbers, so that the sums
 * are made by the compiler. */
SHANI_INLINE void padding_rounds(shani_state s[LANES])
{
    four_rounds_alike(s, QUAD(HM_END_MARK + 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5));
    four_rounds_alike(s, QUAD(0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3));
    four_rounds_alike(s, QUAD(0x72be5d74, 0x80deb1fe, 0x9bdc06a7, HM_HEADER_BITS + 0xc19bf174));
}

/* Rounds 4-63 of block 2, making the schedule.
 * Out: wk, words 16-63 with their constants added.  In: nonces, each the last word of a quad of zeros. */
SHANI_INLINE void first_hash_scheduling(shani_state s[LANES], __m128i wk[12][LANES], const constants *c,
                                        const __m128i nonces[LANES])
{
    __m128i q[12][LANES], last[LANES];

    padding_rounds(s);
    UNROLL for (int t = 0; t < 12; t++) {
        EACH {
            switch (t) {
            case 0: /* words 18 and 19 alone see the nonce, as s0(nonce) and nonce */
                last[i] = _mm_add_epi32(_mm_sha256msg1_epu32(nonces[i], _mm_setzero_si128()), c->words16);
                break;
            case 1:
                last[i] = _mm_sha256msg2_epu32(c->words20, last[i]);
                break;
            case 2:
                last[i] = _mm_sha256msg2_epu32(_mm_alignr_epi8(last[i], q[0][i], 4), last[i]);
                break;
            case 3:
                last[i] = _mm_sha256msg2_epu32(
                    _mm_add_epi32(_mm_alignr_epi8(last[i], q[1][i], 4), c->words28), last[i]);
                break;
            default:
                last[i] = next_quad(q[t - 4][i], q[t - 3][i], q[t - 2][i], last[i]);
            }
            q[t][i] = last[i];
            wk[t][i] = _mm_add_epi32(last[i], load(hm_k + 16 + 4 * t));
            four_rounds(&s[i], wk[t][i]);
            if (t < 10) /* the last two are used at once only */
                KEEP_IN_MEMORY(q[t][i]);
        }
    }
}

/* Rounds 4-63 of block 2, with the schedule that another version made. */
SHANI_INLINE void first_hash_scheduled(shani_state s[LANES], __m128i wk[12][LANES])
{
    padding_rounds(s);
    UNROLL for (int t = 0; t < 12; t++)
        EACH four_rounds(&s[i], wk[t][i]);
}

/* Quads 0, 1 and 3 of the second hash's schedule, words 1-4, 5-8 and 13-16, and its state after round 0.
 * In: s, the first hash.  Out: s, q. */
SHANI_INLINE void second_hash_start(shani_state *s, __m128i *q0, __m128i *q1, __m128i *q3, const shani_state *start)
{
    const __m128i spread = _mm_set_epi8(15, 14, 13, 12, -1, -1, -1, -1, 15, 14, 13, 12, -1, -1, -1, -1);
    const __m128i x = s->abef, y = s->cdgh;          /* words 5 4 1 0 and 7 6 3 2 */
    const __m128i word0 = _mm_shuffle_epi8(x, spread); /* nothing, word 0, nothing, word 0 */
    const __m128i marked = _mm_blend_epi16(x, QUAD(0, 0, 0, HM_END_MARK), 0xc0); /* words 5 4 1 8 */
    const __m128i low = PICK(x, y, 2, 1, 3, 2);       /* words 1 4 2 3 */
    const __m128i high = PICK(marked, y, 0, 3, 1, 0); /* words 5 8 6 7 */

    *q0 = _mm_shuffle_epi32(low, _MM_SHUFFLE(1, 3, 2, 0));
    *q1 = _mm_shuffle_epi32(high, _MM_SHUFFLE(1, 3, 2, 0));
    /* Word 16 is word 0 + s0(word 1); words 9-14 are zero. */
    *q3 = _mm_blend_epi16(QUAD(0, 0, HM_DIGEST_BITS, 0), _mm_sha256msg1_epu32(word0, *q0), 0xc0);
    s->abef = _mm_add_epi32(start->abef, word0);
    s->cdgh = start->cdgh;
}

/* Rounds 0-60 of the second hash.  In: s, the first hash; start, the state after round 0 for a word of zero.
 * Out: s, whose E is H7 but for the addition of the initial state. */
SHANI_INLINE void second_hash(shani_state s[LANES], const shani_state *start)
{
    __m128i q[15][LANES], last[LANES];

    EACH {
        second_hash_start(&s[i], &q[0][i], &q[1][i], &q[3][i], start);
        q[2][i] = _mm_setzero_si128();
        last[i] = q[3][i];
        KEEP_IN_MEMORY(q[0][i]);
        KEEP_IN_MEMORY(q[1][i]);
        KEEP_IN_MEMORY(q[3][i]);
    }
    EACH four_rounds(&s[i], _mm_add_epi32(q[0][i], load(hm_k + 1)));
    EACH four_rounds(&s[i], _mm_add_epi32(q[1][i], load(hm_k + 5)));
    four_rounds_alike(s, load(hm_k + 9));
    UNROLL for (int t = 4; t < 15; t++) {
        EACH {
            switch (t) {
            case 4: /* words 10-13 are zero */
                last[i] = _mm_sha256msg2_epu32(_mm_sha256msg1_epu32(q[0][i], q[1][i]), last[i]);
                break;
            case 6: /* words 9-12 and s0 of words 10-13 are zero */
                last[i] = _mm_sha256msg2_epu32(_mm_alignr_epi8(last[i], q[4][i], 4), last[i]);
                break;
            default:
                last[i] = next_quad(q[t - 4][i], q[t - 3][i], q[t - 2][i], last[i]);
            }
            q[t][i] = last[i];
            if (t < 13)
                KEEP_IN_MEMORY(q[t][i]);
            /* The rounds follow one quad behind, so that they do not wait for it. */
            four_rounds(&s[i], _mm_add_epi32(q[t - 1][i], load(hm_k + 4 * t - 3)));
        }
    }
    EACH four_rounds(&s[i], _mm_add_epi32(last[i], load(hm_k + 57)));
}

/* One bit for each lane whose H7, in the byte order of a number, is at most `top`. */
SHANI_INLINE uint32_t candidates(const shani_state s[LANES], __m128i top)
{
    const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i low = _mm_unpacklo_epi32(s[0].abef, s[1].abef);
    __m128i high = _mm_unpacklo_epi32(s[2].abef, s[3].abef);
    __m128i h7 = _mm_add_epi32(_mm_unpackhi_epi64(low, high), _mm_set1_epi32((int)hm_initial[7]));
    __m128i number = _mm_shuffle_epi8(h7, swap);
    __m128i passes = _mm_cmpeq_epi32(_mm_min_epu32(number, top), number);
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(passes));
}

/* A job in the form the registers take it. */
typedef struct {
    uint32_t versions;
    constants fixed;
    shani_state start; /* of the second hash, after round 0 for a word of zero */
    shani_state head[HM_MAX_VERSIONS], midstate[HM_MAX_VERSIONS];
    __m128i top;
} search_context;

/* All versions of one group.  Out: masks.  Returns: not 0 if any of them is not 0. */
SHANI_INLINE uint32_t search_group(uint32_t masks[HM_MAX_VERSIONS], const search_context *ctx, uint32_t first)
{
    __m128i nonces[LANES], wk[12][LANES];
    uint32_t any = 0;

    EACH nonces[i] = QUAD(0, 0, 0, hm_swap(first + (uint32_t)i));
    for (uint32_t k = 0; k < ctx->versions; k++) {
        const shani_state head = ctx->head[k], midstate = ctx->midstate[k];
        shani_state s[LANES];

        EACH {
            /* The nonce word goes to A and E. */
            s[i].abef = _mm_add_epi32(head.abef, _mm_or_si128(nonces[i], _mm_srli_si128(nonces[i], 8)));
            s[i].cdgh = head.cdgh;
        }
        if (k == 0)
            first_hash_scheduling(s, wk, &ctx->fixed, nonces);
        else
            first_hash_scheduled(s, wk);
        EACH {
            s[i].abef = _mm_add_epi32(s[i].abef, midstate.abef);
            s[i].cdgh = _mm_add_epi32(s[i].cdgh, midstate.cdgh);
        }
        second_hash(s, &ctx->start);
        masks[k] = candidates(s, ctx->top);
        any |= masks[k];
    }
    return any;
}

SHANI static uint32_t search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    search_context ctx = {.fixed = constants_of(job), .versions = job->versions};
    uint32_t start[8];

    /* The SHA instructions have only the old encoding, which waits for whatever was left in the upper halves of
     * the registers. */
    _mm256_zeroupper();
    memcpy(start, hm_initial, sizeof start);
    hm_rounds(start, hm_k, 0, 1);
    ctx.start = state_from(start);
    ctx.top = _mm_set1_epi32((int)job->target_top);
    for (uint32_t k = 0; k < job->versions; k++) {
        ctx.head[k] = state_from(job->head[k]);
        ctx.midstate[k] = state_from(job->midstate[k]);
    }
    for (uint32_t group = 0; group < groups; group++, first += LANES)
        if (search_group(masks, &ctx, first))
            return group;
    return groups;
}

const hm_kernel hm_kernel_shani = {"shani", LANES, hm_cpu_has_shani, hm_compress_shani, hm_hash_padded_shani, search};
#endif
