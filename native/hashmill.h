/* hashmill.h: the whole API of Hashmill's C core: it searches nonces, and rebuilds and hashes shares.
 *
 * Order of arguments, everywhere: outputs first, each buffer followed by its capacity; then the job; then the
 * inputs, each buffer followed by its length.
 *
 * Byte order: headers are the 80 bytes as hashed. Digests are in internal order, the bytes as SHA-256 gives
 * them. Targets are 256-bit little-endian numbers; a digest read the same way is a hit if it is at most the
 * target. Versions, nonces and times are plain integers; the core puts them into the header little-endian.
 *
 * Ownership: the caller owns every buffer and every struct; the core allocates nothing and keeps no pointer,
 * but for hm_share_job, which borrows coinbase2 for its own lifetime. A job is written by its _init function
 * only and read-only afterwards, so that any number of threads may use it at once.
 *
 * Nothing here locks, reads the clock or does I/O, and every function may be called from any thread. The only
 * state is the choice of the kernel, one pointer read and written whole. Fields of structs marked "private"
 * belong to the core and may change between versions.
 *
 * build.py gives this file to cffi too, so that it holds plain C declarations only.
 */
#ifndef HASHMILL_H
#define HASHMILL_H

#include <stddef.h>
#include <stdint.h>

/* Header versions that one scan can share. */
#define HM_MAX_VERSIONS 16
/* Levels of a merkle branch: more than any block of four million weight units can have. */
#define HM_MAX_BRANCH 32

/* What functions that can fail return. */
#define HM_OK 0
#define HM_INVALID (-1)     /* an argument breaks the rule said at the function: a fault of the caller */
#define HM_UNSUPPORTED (-2) /* this CPU or its OS cannot run the kernel */
#define HM_FAULT (-3)       /* the kernel computed something wrong in its self-test */

/* ---- Hashing ------------------------------------------------------------------------------------------- */

/* SHA-256 applied twice, always by the portable code.
 * Out: digest.  In: data, length in bytes (data may be null if length is 0). */
void hm_sha256d(uint8_t digest[32], const uint8_t *data, size_t length);

/* ---- Kernels: ways to search, one per instruction set ---------------------------------------------------- */

/* Number of kernels that were built in. They are numbered from 0 in order of preference, best first; the last
 * is the portable one, which runs everywhere. A number out of range is HM_INVALID, or null, or 0. */
int hm_kernel_count(void);
/* Name as used in HASHMILL_KERNEL; static storage. */
const char *hm_kernel_name(int kernel);
/* Nonces that the kernel hashes side by side. */
uint32_t hm_kernel_lanes(int kernel);
/* Returns: 1 if this CPU and its OS can run it, else 0. */
int hm_kernel_supported(int kernel);

/* Compare the kernel with the portable code on every lane and every version slot, on known blocks and on easy
 * targets, for what it must find and for what it must not. Takes a few milliseconds.
 * Returns: HM_OK, HM_INVALID, HM_UNSUPPORTED or HM_FAULT. */
int hm_kernel_self_test(int kernel);

/* Self-test the kernel and, if it passes, use it from now on, in scans and in share hashing alike.
 * Returns: as hm_kernel_self_test; on failure the choice stays as it was. */
int hm_kernel_select(int kernel);
/* Returns: the number of the kernel in use; HM_INVALID as long as none was chosen. */
int hm_kernel_selected(void);

/* ---- Nonce search ---------------------------------------------------------------------------------------- */

/* A header whose nonce is searched, under up to HM_MAX_VERSIONS versions at once. All fields are private. */
typedef struct {
    uint32_t versions;                      /* how many */
    uint32_t version[HM_MAX_VERSIONS];
    uint32_t midstate[HM_MAX_VERSIONS][8];  /* after the first 64 bytes */
    uint32_t head[HM_MAX_VERSIONS][8];      /* after rounds 0-3 of block 2, the nonce word taken as zero */
    uint32_t tail[3];                       /* message words 0-2 of block 2 */
    uint32_t target_top;                    /* most significant 32 bits of the target */
    uint8_t header[80];
    uint8_t target[32];
} hm_job;

/* A header that meets the target: the job's, with this version and this nonce. */
typedef struct {
    uint32_t nonce;
    uint32_t version;
    uint8_t hash[32];
} hm_hit;

/* Prepare a job.
 * Returns: HM_OK, or HM_INVALID if count is not in 1..HM_MAX_VERSIONS.
 * Out: job.  In: header (its version and nonce are ignored), target, versions, count of versions. */
int hm_job_init(hm_job *job, const uint8_t header[80], const uint8_t target[32], const uint32_t *versions,
                uint32_t count);

/* Scan `count` nonces from `first`, each under every version of the job, with the kernel in use.
 *
 * `*scanned` tells how many nonces, counted from `first`, are complete: tried under all versions, with every
 * hit among them in the buffer, in order of nonce and then of version. It is less than `count` only if the
 * stop word was set or if the hits of the next nonce did not all fit; those are then left out altogether. So a
 * caller that goes on at first + *scanned loses no hit and sees none twice.
 *
 * Returns: number of hits; HM_INVALID, with nothing scanned, if capacity is less than the job's number of
 * versions (such a scan might never advance) or above INT32_MAX, or if first + count is above 2^32;
 * HM_UNSUPPORTED if no kernel was chosen yet.
 * Out: hits (beyond those returned the buffer's content is undefined), capacity in hits, scanned.
 * In: job, first, count, stop (looked at before every few thousand hashes; the scan ends when it is not 0). */
int32_t hm_scan(hm_hit *hits, uint32_t capacity, uint64_t *scanned, const hm_job *job, uint32_t first,
                uint64_t count, const volatile uint32_t *stop);

/* ---- Shares ---------------------------------------------------------------------------------------------- */

/* What all shares of one job have in common. All fields are private. */
typedef struct {
    uint32_t state[8];         /* after the whole 64-byte blocks of coinbase1 */
    uint8_t pending[64];       /* the bytes of coinbase1 after them */
    uint64_t coinbase1_length;
    const uint8_t *coinbase2;  /* borrowed from the caller */
    size_t coinbase2_length;
    uint32_t branch_length;
    uint8_t branch[HM_MAX_BRANCH][32];
    uint8_t prev_hash[32];
    uint32_t bits;
} hm_share_job;

/* Prepare a share job. coinbase2 is borrowed: it must stay in place, unchanged, as long as the job is used;
 * everything else is copied. The coinbase is coinbase1, extranonce1, extranonce2, coinbase2, without witness.
 * Returns: HM_OK, or HM_INVALID if branch_length is above HM_MAX_BRANCH.
 * Out: job.  In: coinbase1 and coinbase2 with lengths in bytes, branch (32 bytes a level, lowest first) with
 * its length in levels, prev_hash, bits (compact target). */
int hm_share_job_init(hm_share_job *job, const uint8_t *coinbase1, size_t coinbase1_length,
                      const uint8_t *coinbase2, size_t coinbase2_length, const uint8_t *branch,
                      uint32_t branch_length, const uint8_t prev_hash[32], uint32_t bits);

/* Rebuild the header of a share and hash it.
 * Out: header, hash.  In: job, the extranonces with lengths in bytes, ntime (unix seconds), nonce, version
 * (whole, as it is to be hashed). */
void hm_share_header(uint8_t header[80], uint8_t hash[32], const hm_share_job *job, const uint8_t *extranonce1,
                     size_t extranonce1_length, const uint8_t *extranonce2, size_t extranonce2_length,
                     uint32_t ntime, uint32_t nonce, uint32_t version);

/* ---- Measuring ------------------------------------------------------------------------------------------- */

/* Run `adds` dependent additions, rounded up to a multiple of 16. A core makes one a cycle, so that the time
 * this takes tells the clock at which it runs.  Returns: the sum, so that the loop cannot be left out. */
uint64_t hm_calibrate(uint64_t adds);

#endif
