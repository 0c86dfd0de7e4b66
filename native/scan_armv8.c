/* scan_armv8.c: the search with the SHA-256 instructions of ARMv8, four nonces side by side.
 *
 * sha256h and sha256h2 together make four rounds and depend on each other; four lanes, interleaved, keep their unit
 * busy. The shortcuts are those of scan_portable.c and scan_shani.c: rounds in quads that begin at 4 in the first
 * hash and, after an addition for round 0, at 1, 5, 9 ... 57 in the second, where quads of the schedule begin too.
 *
 * The instructions keep a state in two registers: words a b c d and e f g h, in this order.
 */
#include "internal.h"

#if HM_ARMV8
#include <arm_neon.h>
#include <string.h>
#include <sys/auxv.h>

#define ARMV8 __attribute__((target("+crypto")))
#define ARMV8_INLINE static inline __attribute__((always_inline, target("+crypto")))

enum { LANES = 4, SHA2 = 1 << 6 /* HWCAP_SHA2 of the kernel's asm/hwcap.h */ };

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* Do something with every lane i. */
#define EACH for (int i = 0; i < LANES; i++)

typedef struct {
    uint32x4_t abcd, efgh;
} state;

ARMV8_INLINE state load_state(const uint32_t words[8])
{
    state s = {vld1q_u32(words), vld1q_u32(words + 4)};
    return s;
}

ARMV8_INLINE uint32x4_t quad(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    const uint32_t words[4] = {w0, w1, w2, w3};
    return vld1q_u32(words);
}

ARMV8_INLINE state add(state x, state y)
{
    state sum = {vaddq_u32(x.abcd, y.abcd), vaddq_u32(x.efgh, y.efgh)};
    return sum;
}

/* Four rounds.  In: sums of words and constants. */
ARMV8_INLINE state four_rounds(state s, uint32x4_t wk)
{
    state next = {vsha256hq_u32(s.abcd, s.efgh, wk), vsha256h2q_u32(s.efgh, s.abcd, wk)};
    return next;
}

/* A word in lane 0, and zeros. */
ARMV8_INLINE uint32x4_t alone(uint32x4_t word) { return vsetq_lane_u32(vgetq_lane_u32(word, 0), vdupq_n_u32(0), 0); }

/* The quad of a schedule after q[0..3]; it takes the place of q[0]. */
ARMV8_INLINE uint32x4_t next_quad(uint32x4_t q0, uint32x4_t q1, uint32x4_t q2, uint32x4_t q3)
{
    return vsha256su1q_u32(vsha256su0q_u32(q0, q1), q2, q3);
}

/* A state after one more block.  In: q, its words. */
ARMV8_INLINE state with_block(state sum, uint32x4_t q0, uint32x4_t q1, uint32x4_t q2, uint32x4_t q3)
{
    uint32x4_t q[4] = {q0, q1, q2, q3};
    state s = sum;

    UNROLL for (int t = 0; t < 16; t++) {
        if (t >= 4)
            q[t & 3] = next_quad(q[t & 3], q[(t + 1) & 3], q[(t + 2) & 3], q[(t + 3) & 3]);
        s = four_rounds(s, vaddq_u32(q[t & 3], vld1q_u32(hm_k + 4 * t)));
    }
    return add(sum, s);
}

/* Four bytes each, as words of a message. */
ARMV8_INLINE uint32x4_t words_of(const uint8_t *bytes) { return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(bytes))); }

ARMV8_INLINE void store_bytes(uint8_t *bytes, uint32x4_t words) { vst1q_u8(bytes, vrev32q_u8(vreinterpretq_u8_u32(words))); }

ARMV8_INLINE state with_blocks(state s, const uint8_t *blocks, size_t count)
{
    for (; count > 0; count--, blocks += 64)
        s = with_block(s, words_of(blocks), words_of(blocks + 16), words_of(blocks + 32), words_of(blocks + 48));
    return s;
}

ARMV8 static void compress(uint32_t words[8], const uint8_t *blocks, size_t count)
{
    state s = with_blocks(load_state(words), blocks, count);

    vst1q_u32(words, s.abcd);
    vst1q_u32(words + 4, s.efgh);
}

ARMV8 static void hash_padded(uint8_t digest[32], const uint8_t *blocks, size_t count)
{
    const state initial = load_state(hm_initial);
    state s = with_blocks(initial, blocks, count);

    s = with_block(initial, s.abcd, s.efgh, quad(HM_END_MARK, 0, 0, 0), quad(0, 0, 0, HM_DIGEST_BITS));
    store_bytes(digest, s.abcd);
    store_bytes(digest + 16, s.efgh);
}

/* Sums of words 4-63 of block 2 and constants: the same for all versions. */
ARMV8_INLINE void schedule(uint32x4_t wk[16], const hm_job *job, uint32_t word)
{
    uint32x4_t q[4] = {quad(job->tail[0], job->tail[1], job->tail[2], word), quad(HM_END_MARK, 0, 0, 0),
                       vdupq_n_u32(0), quad(0, 0, 0, HM_HEADER_BITS)};

    UNROLL for (int t = 1; t < 16; t++) {
        if (t >= 4)
            q[t & 3] = next_quad(q[t & 3], q[(t + 1) & 3], q[(t + 2) & 3], q[(t + 3) & 3]);
        wk[t] = vaddq_u32(q[t & 3], vld1q_u32(hm_k + 4 * t));
    }
}

/* Rounds 0-60 of the second hash.  In: s, the first hash; start, the state after round 0 for a word of zero.
 * Out: s, whose E is H7 but for the addition of the initial state. */
ARMV8_INLINE void second_hash(state s[LANES], const state *start)
{
    uint32x4_t q[4][LANES];

    EACH {
        const uint32x4_t word0 = vextq_u32(vdupq_n_u32(0), s[i].abcd, 1); /* nothing, nothing, nothing, word 0 */
        const state first = {alone(s[i].abcd), alone(s[i].abcd)};
        q[0][i] = vextq_u32(s[i].abcd, s[i].efgh, 1);                   /* words 1-4 */
        q[1][i] = vextq_u32(s[i].efgh, vdupq_n_u32(HM_END_MARK), 1);    /* words 5-8 */
        q[2][i] = vdupq_n_u32(0);                                       /* words 9-12 */
        /* Word 16 is word 0 + s0(word 1): words 9 and 14 are zero. */
        q[3][i] = vsetq_lane_u32(vgetq_lane_u32(vsha256su0q_u32(word0, q[0][i]), 3),
                                 quad(0, 0, HM_DIGEST_BITS, 0), 3);     /* words 13-16 */
        s[i] = add(*start, first);
    }
    UNROLL for (int t = 0; t < 15; t++) {
        const uint32x4_t k = vld1q_u32(hm_k + 1 + 4 * t);
        EACH {
            if (t >= 4)
                q[t & 3][i] = next_quad(q[t & 3][i], q[(t + 1) & 3][i], q[(t + 2) & 3][i], q[(t + 3) & 3][i]);
            s[i] = four_rounds(s[i], vaddq_u32(q[t & 3][i], k));
        }
    }
}

/* One bit for each lane whose H7, in the byte order of a number, is at most `top`. */
ARMV8_INLINE uint32_t candidates(const state s[LANES], uint32_t top)
{
    uint32_t mask = 0;

    EACH mask |= (uint32_t)(hm_swap(vgetq_lane_u32(s[i].efgh, 0) + hm_initial[7]) <= top) << i;
    return mask;
}

ARMV8 static uint32_t search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    uint32_t words[8];
    state start;

    memcpy(words, hm_initial, sizeof words);
    hm_rounds(words, hm_k, 0, 1);
    start = load_state(words);
    for (uint32_t group = 0; group < groups; group++, first += LANES) {
        uint32x4_t wk[LANES][16];
        uint32_t any = 0;
        EACH schedule(wk[i], job, hm_swap(first + (uint32_t)i));
        for (uint32_t k = 0; k < job->versions; k++) {
            const state head = load_state(job->head[k]), midstate = load_state(job->midstate[k]);
            state s[LANES];
            EACH {
                /* The nonce word goes to A and E. */
                const uint32x4_t word = quad(hm_swap(first + (uint32_t)i), 0, 0, 0);
                const state nonce = {word, word};
                s[i] = add(head, nonce);
            }
            UNROLL for (int t = 1; t < 16; t++)
                EACH s[i] = four_rounds(s[i], wk[i][t]);
            EACH s[i] = add(s[i], midstate);
            second_hash(s, &start);
            masks[k] = candidates(s, job->target_top);
            any |= masks[k];
        }
        if (any)
            return group;
    }
    return groups;
}

static int supported(void) { return (getauxval(AT_HWCAP) & SHA2) != 0; }

const hm_kernel hm_kernel_armv8 = {"armv8", LANES, supported, compress, hash_padded, search};
#endif
