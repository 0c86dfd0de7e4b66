/* scan_portable.c: the search in plain C, one nonce at a time, with the shortcuts that all kernels take.
 *
 * A header is two blocks. The first holds the version and is compressed once per version: hm_job keeps these
 * midstates. The second holds, in its 16 words: three words of the job, the nonce, and constant padding.
 *   - Rounds 0-2 do not see the nonce, and round 3 sees it as a plain addend to two words of the state. The job
 *     keeps the state after round 3 for a nonce word of zero; here the nonce word is added to a and e.
 *   - The message schedule does not see the version: it is made once per nonce, for all versions.
 * The second hash takes the first one's 8 words and constant padding. Its last word, the most significant of
 * the hash as a number, is known after round 60: state word e is then moved through f and g to h.
 */
#include <string.h>

#include "internal.h"

/* The sums of words and constants in block 2 for a nonce word. */
static void schedule(uint32_t wk[64], const hm_job *job, uint32_t word)
{
    memcpy(wk, job->tail, sizeof job->tail);
    wk[3] = word;
    wk[4] = HM_END_MARK;
    for (int i = 5; i < 15; i++)
        wk[i] = 0;
    wk[15] = HM_HEADER_BITS;
    hm_expand(wk, 64);
    for (int i = 0; i < 64; i++)
        wk[i] += hm_k[i];
}

/* Most significant 32 bits of the hash of a nonce under version k. */
static uint32_t hash_top(const hm_job *job, uint32_t k, uint32_t word, const uint32_t first_wk[64])
{
    uint32_t state[8], wk[64];

    memcpy(state, job->head[k], sizeof state);
    state[0] += word;
    state[4] += word;
    hm_rounds(state, first_wk, 4, 64);

    for (int i = 0; i < 8; i++)
        wk[i] = job->midstate[k][i] + state[i];
    wk[8] = HM_END_MARK;
    for (int i = 9; i < 15; i++)
        wk[i] = 0;
    wk[15] = HM_DIGEST_BITS;
    hm_expand(wk, 61);
    for (int i = 0; i < 61; i++)
        wk[i] += hm_k[i];
    memcpy(state, hm_initial, sizeof state);
    hm_rounds(state, wk, 0, 61);
    return hm_swap(hm_initial[7] + state[4]);
}

static uint32_t search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    for (uint32_t group = 0; group < groups; group++) {
        uint32_t wk[64], any = 0;
        uint32_t word = hm_swap(first + group);
        schedule(wk, job, word);
        for (uint32_t k = 0; k < job->versions; k++) {
            masks[k] = hash_top(job, k, word, wk) <= job->target_top;
            any |= masks[k];
        }
        if (any)
            return group;
    }
    return groups;
}

static int supported(void) { return 1; }

const hm_kernel hm_kernel_portable = {"portable", 1, supported, hm_compress, hm_hash_padded, search};
