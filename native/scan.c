/* scan.c: the table of kernels, the choice among them, and the search that is common to all. */
#include <string.h>

#include "internal.h"

/* ---- Table and choice ---- */

/* Best first, as far as that can be said of all machines (the caller may measure); the portable one last. */
static const hm_kernel *const kernels[] = {
#if HM_X86
    &hm_kernel_joint,
    &hm_kernel_shani,
    &hm_kernel_avx512,
    &hm_kernel_avx2,
    &hm_kernel_sse2,
#endif
#if HM_ARMV8
    &hm_kernel_armv8,
#endif
    &hm_kernel_portable,
};

enum { KERNELS = sizeof kernels / sizeof *kernels };

/* The only state of the core. Threads may choose at the same time: the pointer is written whole, what it
 * points to is constant, and each of them has passed its self-test. */
static const hm_kernel *volatile chosen;

const hm_kernel *hm_chosen(void) { return chosen; }

static const hm_kernel *kernel_at(int kernel)
{
    return kernel >= 0 && kernel < KERNELS ? kernels[kernel] : NULL;
}

int hm_kernel_count(void) { return KERNELS; }

const char *hm_kernel_name(int kernel)
{
    const hm_kernel *found = kernel_at(kernel);
    return found ? found->name : NULL;
}

uint32_t hm_kernel_lanes(int kernel)
{
    const hm_kernel *found = kernel_at(kernel);
    return found ? found->lanes : 0;
}

int hm_kernel_supported(int kernel)
{
    const hm_kernel *found = kernel_at(kernel);
    return found ? found->supported() : 0;
}

int hm_kernel_self_test(int kernel)
{
    const hm_kernel *found = kernel_at(kernel);
    if (!found)
        return HM_INVALID;
    return found->supported() ? hm_self_test(found) : HM_UNSUPPORTED;
}

int hm_kernel_select(int kernel)
{
    int result = hm_kernel_self_test(kernel);
    if (result == HM_OK)
        chosen = kernels[kernel];
    return result;
}

int hm_kernel_selected(void)
{
    const hm_kernel *current = chosen;
    for (int i = 0; i < KERNELS; i++)
        if (kernels[i] == current)
            return i;
    return HM_INVALID;
}

/* ---- Job ---- */

int hm_job_init(hm_job *job, const uint8_t header[80], const uint8_t target[32], const uint32_t *versions,
                uint32_t count)
{
    uint32_t wk[64] = {0};

    if (count < 1 || count > HM_MAX_VERSIONS)
        return HM_INVALID;
    memset(job, 0, sizeof *job);
    memcpy(job->header, header, sizeof job->header);
    memcpy(job->target, target, sizeof job->target);
    job->target_top = hm_load_le(target + 28);
    for (int i = 0; i < 3; i++)
        job->tail[i] = hm_load_be(header + 64 + 4 * i);
    for (int i = 0; i < 4; i++)
        wk[i] = hm_k[i] + (i < 3 ? job->tail[i] : 0);

    job->versions = count;
    for (uint32_t k = 0; k < count; k++) {
        uint8_t block[64];
        memcpy(block, header, sizeof block);
        hm_store_le(block, versions[k]);
        job->version[k] = versions[k];
        memcpy(job->midstate[k], hm_initial, sizeof job->midstate[k]);
        hm_compress(job->midstate[k], block, 1);
        memcpy(job->head[k], job->midstate[k], sizeof job->head[k]);
        hm_rounds(job->head[k], wk, 0, 4);
    }
    return HM_OK;
}

/* ---- Scan ---- */

/* Hashes between two looks at the stop word: under a millisecond with SHA-NI, some 10 ms without. */
enum { HASHES_PER_SLICE = 32768 };

static int meets(const uint8_t hash[32], const uint8_t target[32])
{
    for (int i = 31; i >= 0; i--)
        if (hash[i] != target[i])
            return hash[i] < target[i];
    return 1;
}

/* Put the hits of one nonce, whose candidates are bit `lane` of the masks, behind the `found` ones.
 * Returns: 1, or 0 if they do not all fit; `*found` is then unchanged. */
static int take_nonce(hm_hit *hits, uint32_t capacity, uint32_t *found, const hm_job *job, uint32_t nonce,
                      uint32_t lane, const uint32_t masks[HM_MAX_VERSIONS])
{
    uint32_t next = *found;

    for (uint32_t k = 0; k < job->versions; k++) {
        uint8_t hash[32];
        if (!(masks[k] >> lane & 1))
            continue;
        hm_hash_candidate(hash, job, job->version[k], nonce);
        if (!meets(hash, job->target))
            continue;
        if (next == capacity)
            return 0;
        hits[next].nonce = nonce;
        hits[next].version = job->version[k];
        memcpy(hits[next].hash, hash, sizeof hash);
        next++;
    }
    *found = next;
    return 1;
}

int32_t hm_scan_with(hm_hit *hits, uint32_t capacity, uint64_t *scanned, const hm_kernel *kernel,
                     const hm_job *job, uint32_t first, uint64_t count, const volatile uint32_t *stop)
{
    const uint32_t lanes = kernel->lanes;
    const uint32_t slice = HASHES_PER_SLICE / (lanes * job->versions);
    uint32_t found = 0;
    uint64_t done = 0;

    *scanned = 0;
    if (capacity < job->versions || capacity > INT32_MAX || count > (UINT64_C(1) << 32) - first)
        return HM_INVALID;
    while (done < count && *stop == 0) {
        uint32_t masks[HM_MAX_VERSIONS];
        uint64_t left = (count - done + lanes - 1) / lanes;
        uint32_t groups = left < slice ? (uint32_t)left : slice;
        uint32_t quiet = kernel->search(masks, job, first + (uint32_t)done, groups);

        done += (uint64_t)quiet * lanes;
        if (quiet == groups)
            continue;
        for (uint32_t lane = 0; lane < lanes && done < count; lane++, done++)
            if (!take_nonce(hits, capacity, &found, job, first + (uint32_t)done, lane, masks)) {
                *scanned = done;
                return (int32_t)found;
            }
    }
    /* The last group may reach beyond the range. */
    *scanned = done < count ? done : count;
    return (int32_t)found;
}

int32_t hm_scan(hm_hit *hits, uint32_t capacity, uint64_t *scanned, const hm_job *job, uint32_t first,
                uint64_t count, const volatile uint32_t *stop)
{
    const hm_kernel *kernel = chosen;

    *scanned = 0;
    if (!kernel)
        return HM_UNSUPPORTED;
    return hm_scan_with(hits, capacity, scanned, kernel, job, first, count, stop);
}

/* ---- Measuring ---- */

/* One addition that the compiler can neither foresee nor merge with the next. */
#define ADD                              \
    do {                                 \
        sum += step;                     \
        __asm__ volatile("" : "+r"(sum)); \
    } while (0)
#define FOUR_ADDS ADD; ADD; ADD; ADD

uint64_t hm_calibrate(uint64_t adds)
{
    uint64_t sum = 0, step = 1;

    __asm__ volatile("" : "+r"(step));
    for (uint64_t i = 0; i < adds; i += 16) {
        FOUR_ADDS;
        FOUR_ADDS;
        FOUR_ADDS;
        FOUR_ADDS;
    }
    return sum;
}
