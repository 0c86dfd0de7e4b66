/* scan_joint.c: the search with the SHA instructions and AVX-512 at once, eight nonces side by side.
 *
 * The SHA instructions make rounds fast and schedules slowly; AVX-512 makes the schedules of eight nonces at once
 * (in registers of 256 bits, of which it has 32, and with rotations; generate_joint.py says why not in 512). So the
 * rounds have the unit for sha256rnds2 to themselves, one instruction a cycle, and all else is AVX-512 in the gaps
 * between:
 *   - the schedule of block 2, once per group of nonces, for all versions;
 *   - the schedule of the second hash, once per unit, which is a group under one version.
 * Both leave sums of words and constants in memory, in the pairs that sha256rnds2 takes.
 *
 * Schedules and rounds need each other's results; so three units are under way at the same time, each one stage
 * further than the next (joint.h). The steps of this pipeline are written by generate_joint.py, because no compiler
 * keeps the order of the instructions or finds the registers; here they are given their buffers, and their results
 * are compared with the target. The shortcuts are those of scan_portable.c and scan_shani.c.
 */
#include "joint.h"

#if HM_JOINT
#include <immintrin.h>
#include <string.h>

#define JOINT __attribute__((target("sha,avx512f,avx512bw,avx512vl")))

JOINT static inline __m256i load(const void *p) { return _mm256_load_si256(p); }

enum { LANES = HM_JOINT_LANES, STAGES = 3 };

static void prepare(hm_joint *joint, const hm_job *job)
{
    uint32_t start[8];
    hm_folded folded;

    hm_fold_constants(&folded, job);
    memcpy(joint->first_constants, folded.first + 18, sizeof joint->first_constants);
    memcpy(joint->second_constants, folded.second + 16, sizeof joint->second_constants);
    memcpy(joint->first_sums, folded.first_sums, sizeof folded.first_sums);
    memcpy(joint->second_sums, folded.second_sums, sizeof folded.second_sums);
    memcpy(start, hm_initial, sizeof start);
    hm_rounds(start, hm_k, 0, 1);
    hm_shani_order(joint->start, start);
    memcpy(joint->k, hm_k, sizeof joint->k);
    for (unsigned i = 0; i < sizeof joint->swap; i++)
        joint->swap[i] = (uint8_t)(i ^ 3);
    for (uint32_t i = 0; i < LANES; i++)
        joint->lanes[i] = i;
}

/* One bit for each nonce whose H7, in the byte order of a number, is at most `top`. */
JOINT static inline uint32_t candidates(const hm_joint *joint, uint32_t top)
{
    const __m256i odd = _mm256_set_epi32(15, 13, 11, 9, 7, 5, 3, 1);
    __m256i e = _mm256_permutex2var_epi32(load(joint->tops), odd, load(joint->tops + LANES));
    __m256i h7 = _mm256_add_epi32(e, _mm256_set1_epi32((int)hm_initial[7]));
    __m256i number = _mm256_shuffle_epi8(h7, load(joint->swap));
    return _mm256_cmple_epu32_mask(number, _mm256_set1_epi32((int)top));
}

/* At a fixed place in a page, like the steps, for up to 5 % of the speed (generate_joint.py, `function`). */
__attribute__((aligned(4096))) JOINT static uint32_t search(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups)
{
    const uint32_t last = job->versions - 1;
    HM_JOINT_ALIGNED uint32_t heads[HM_MAX_VERSIONS][8];
    hm_joint joint;
    hm_joint_first firsts[2] = {0};
    hm_joint_second seconds[2] = {0};
    /* Versions of the units in the three stages. The unit before the first one is there only because the group
     * that follows it is scheduled beside it. */
    uint32_t version = last, before = 0, oldest = 0;
    uint32_t group = 0, any = 0;

    prepare(&joint, job);
    joint.nonce = first;
    for (uint32_t i = 0; i < job->versions; i++)
        hm_shani_order(heads[i], job->head[i]);
    for (uint32_t step = 0, from = 0;; step++) {
        hm_joint_second *read = &seconds[step & 1];
        hm_joint_second *written = &seconds[~step & 1];
        if (version == last) {
            hm_joint_step_scheduling(&joint, &firsts[from], read, written, heads[version], job->midstate[before],
                                     &firsts[!from]);
            joint.nonce += LANES;
            from = !from;
        } else {
            hm_joint_step(&joint, &firsts[from], read, written, heads[version], job->midstate[before]);
        }
        if (step >= STAGES) { /* before that, what leaves the pipeline never entered it */
            masks[oldest] = candidates(&joint, job->target_top);
            any |= masks[oldest];
            if (oldest == last) {
                if (any || ++group == groups)
                    break;
            }
        }
        oldest = before;
        before = version;
        version = version == last ? 0 : version + 1;
    }
    _mm256_zeroupper();
    return group;
}

static int supported(void) { return hm_cpu_has_shani() && hm_cpu_has_avx512(); }

const hm_kernel hm_kernel_joint = {"joint", LANES, supported, hm_compress_shani, hm_hash_padded_shani, search};
#endif
