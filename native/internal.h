/* internal.h: what the files of the core share among themselves; hashmill.h is what the outside sees. */
#ifndef HASHMILL_INTERNAL_H
#define HASHMILL_INTERNAL_H

#include "hashmill.h"

#if defined(__x86_64__) || defined(__i386__)
#define HM_X86 1
#else
#define HM_X86 0
#endif

/* clang knows the instructions at single functions only from version 16 on. */
#if defined(__aarch64__) && defined(__linux__) && (!defined(__clang__) || __clang_major__ >= 16)
#define HM_ARMV8 1
#else
#define HM_ARMV8 0
#endif

/* Most nonces that a kernel may hash side by side: one bit each in a mask. */
#define HM_MAX_LANES 32

/* Padding of block 2 and of the second hash: the bit that ends a message, and lengths in bits. */
#define HM_END_MARK UINT32_C(0x80000000)
#define HM_HEADER_BITS 640
#define HM_DIGEST_BITS 256

extern const uint32_t hm_k[64];       /* round constants */
extern const uint32_t hm_initial[8];  /* initial state */

/* ---- Bytes and words, for any byte order of the machine ---- */

static inline uint32_t hm_rotr(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static inline uint32_t hm_load_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void hm_store_be(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

static inline uint32_t hm_load_le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline void hm_store_le(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)(x >> 16);
    p[3] = (uint8_t)(x >> 24);
}

/* Between a number and the message word that its little-endian bytes make. */
static inline uint32_t hm_swap(uint32_t x)
{
    return x >> 24 | (x >> 8 & 0xff00) | (x << 8 & 0xff0000) | x << 24;
}

static inline uint32_t hm_small_sigma0(uint32_t x) { return hm_rotr(x, 7) ^ hm_rotr(x, 18) ^ x >> 3; }
static inline uint32_t hm_small_sigma1(uint32_t x) { return hm_rotr(x, 17) ^ hm_rotr(x, 19) ^ x >> 10; }

/* ---- Portable SHA-256 (sha256.c) ---- */

/* Rounds first..last-1 on a state, without the final addition.  In: wk, all 64 sums of word and constant. */
void hm_rounds(uint32_t state[8], const uint32_t wk[64], unsigned first, unsigned last);
/* Words 16..last-1 from words 0..15. */
void hm_expand(uint32_t w[64], unsigned last);
/* Compress `count` blocks of 64 bytes into a state. */
void hm_compress(uint32_t state[8], const uint8_t *blocks, size_t count);

/* SHA-256 applied twice to a message that comes with its padding, in `count` blocks; the digest may overlap them. */
void hm_hash_padded(uint8_t digest[32], const uint8_t *blocks, size_t count);

typedef void hm_hash_padded_function(uint8_t digest[32], const uint8_t *blocks, size_t count);
typedef void hm_compress_function(uint32_t state[8], const uint8_t *blocks, size_t count);

/* A SHA-256 computation fed piece by piece. */
typedef struct {
    hm_compress_function *compress;
    uint32_t state[8];
    uint8_t pending[64];
    uint64_t length;
} hm_stream;

void hm_stream_start(hm_stream *stream, hm_compress_function *compress);
void hm_stream_add(hm_stream *stream, const uint8_t *data, size_t length);
/* Digest of what was added, and the digest of that: SHA-256 applied twice. */
void hm_stream_finish_double(uint8_t digest[32], hm_stream *stream);

/* The job's header with this version and this nonce, hashed in full by the portable code. */
void hm_hash_candidate(uint8_t hash[32], const hm_job *job, uint32_t version, uint32_t nonce);

/* What the two schedules of a job have from words that are the same for all nonces. */
typedef struct {
    uint32_t first[64], second[64];              /* summands of words 16-63 */
    uint32_t first_sums[18], second_sums[16];    /* words 0-17 and 0-15 with their round constants */
} hm_folded;

/* Words that depend on the nonce, one bit each: 3 and from 18 on in block 2, 0-7 and from 16 on in the second hash. */
#define HM_FIRST_VARYING (~UINT64_C(0) << 18 | 1 << 3)
#define HM_SECOND_VARYING (~UINT64_C(0) << 16 | 0xff)

void hm_fold_constants(hm_folded *folded, const hm_job *job);

/* ---- Kernels ---- */

typedef struct {
    const char *name;
    uint32_t lanes;
    int (*supported)(void);
    hm_compress_function *compress;
    hm_hash_padded_function *hash_padded;

    /* Hash `groups` groups of `lanes` nonces from `first` (wrapping at 2^32), each under every version of the
     * job, up to the first group with a candidate: a hash whose most significant 32 bits are at most
     * job->target_top. That is all of them but no more, so that the test is as good for the easiest target as
     * for a hard one, and the caller has only to look at the few that pass.
     * Returns: number of groups before that one, or `groups`.
     * Out: if it is less than `groups`, masks: bit i of masks[k] is nonce i of the group, version k of the job;
     * those of versions that the job does not have stay untouched. */
    uint32_t (*search)(uint32_t masks[HM_MAX_VERSIONS], const hm_job *job, uint32_t first, uint32_t groups);
} hm_kernel;

extern const hm_kernel hm_kernel_portable;
#if HM_X86
extern const hm_kernel hm_kernel_joint, hm_kernel_shani, hm_kernel_avx512, hm_kernel_avx2, hm_kernel_sse2;
#endif
#if HM_ARMV8
extern const hm_kernel hm_kernel_armv8;
#endif

/* The kernel in use, or null. */
const hm_kernel *hm_chosen(void);

/* As hm_scan and hm_kernel_self_test, with any kernel. */
int32_t hm_scan_with(hm_hit *hits, uint32_t capacity, uint64_t *scanned, const hm_kernel *kernel,
                     const hm_job *job, uint32_t first, uint64_t count, const volatile uint32_t *stop);
int hm_self_test(const hm_kernel *kernel);

#if HM_X86
/* What CPU and OS offer together (cpu.c): an instruction set counts only if the OS keeps its registers. */
int hm_cpu_has_shani(void);  /* with AVX */
int hm_cpu_has_sse2(void);
int hm_cpu_has_avx2(void);
int hm_cpu_has_avx512(void); /* with BW and VL */

/* A state as the SHA instructions keep it in two registers: f e b a, h g d c. */
static inline void hm_shani_order(uint32_t out[8], const uint32_t state[8])
{
    static const uint8_t order[8] = {5, 4, 1, 0, 7, 6, 3, 2};

    for (int i = 0; i < 8; i++)
        out[i] = state[order[i]];
}

/* hm_compress and hm_hash_padded with the SHA instructions (scan_shani.c). */
void hm_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count);
void hm_hash_padded_shani(uint8_t digest[32], const uint8_t *blocks, size_t count);
#endif

#endif
