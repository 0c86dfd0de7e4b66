#include "internal.h"
#if HM_X86
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("sha,sse4.1")))
enum { LANES = 4 };

/* straightforward first version */
TARGET static void rounds64(__m128i *s0, __m128i *s1, const uint32_t w[64], int first, int last)
{
    for (int i = first; i < last; i += 2) {
        __m128i wk = _mm_set_epi32(0, 0, (int)(w[i + 1]), (int)(w[i]));
        __m128i next = _mm_sha256rnds2_epu32(*s1, *s0, wk);
        *s1 = *s0;
        *s0 = next;
    }
}

TARGET static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    for (; count > 0; count--, blocks += 64) {
        uint32_t w[64];
        for (int i = 0; i < 16; i++) w[i] = hm_load_be(blocks + 4 * i);
        hm_expand(w, 64);
        for (int i = 0; i < 64; i++) w[i] += hm_k[i];
        __m128i s0 = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
        __m128i s1 = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
        rounds64(&s0, &s1, w, 0, 64);
        state[0] += (uint32_t)_mm_extract_epi32(s0, 3);
        state[1] += (uint32_t)_mm_extract_epi32(s0, 2);
        state[4] += (uint32_t)_mm_extract_epi32(s0, 1);
        state[5] += (uint32_t)_mm_extract_epi32(s0, 0);
        state[2] += (uint32_t)_mm_extract_epi32(s1, 3);
        state[3] += (uint32_t)_mm_extract_epi32(s1, 2);
        state[6] += (uint32_t)_mm_extract_epi32(s1, 1);
        state[7] += (uint32_t)_mm_extract_epi32(s1, 0);
    }
}

static uint32_t search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    for (uint32_t g = 0; g < groups; g++, first += LANES) {
        uint32_t any = 0;
        for (uint32_t k = 0; k < job->versions; k++) {
            masks[k] = 0;
            for (uint32_t lane = 0; lane < LANES; lane++) {
                uint8_t b[64] = {0}, c[64] = {0};
                uint32_t s[8], t[8];
                for (int i = 0; i < 3; i++) hm_store_be(b + 4 * i, job->tail[i]);
                hm_store_le(b + 12, first + lane);
                b[16] = 0x80; b[62] = 2; b[63] = 0x80;
                memcpy(s, job->midstate[k], 32);
                compress(s, b, 1);
                for (int i = 0; i < 8; i++) hm_store_be(c + 4 * i, s[i]);
                c[32] = 0x80; c[62] = 1;
                memcpy(t, hm_initial, 32);
                compress(t, c, 1);
                masks[k] |= (uint32_t)(hm_swap(t[7]) <= job->target_top) << lane;
            }
            any |= masks[k];
        }
        if (any) return g;
    }
    return groups;
}
const hm_kernel hm_kernel_shani = {"shani", LANES, hm_cpu_has_shani, compress, search};
#endif
