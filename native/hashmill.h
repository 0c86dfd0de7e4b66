/* hashmill.h: the whole API of Hashmill's C core: it searches nonces, and judges shares.
 *
 * Order of arguments, everywhere: outputs first, each buffer followed by its capacity; then the job; then the
 * inputs, each buffer followed by its length.
 *
 * Byte order: headers are the 80 bytes as hashed. Digests are in internal order, the bytes as SHA-256 gives
 * them. Targets are 256-bit little-endian numbers; a digest read the same way is a hit if it is at most the
 * target. Versions, nonces and times are plain integers; the core puts them into the header little-endian.
 *
 * Ownership: the caller owns every buffer and every struct; the core allocates nothing. It keeps a pointer only
 * where a struct says "borrowed": what it points to must stay in place for as long as the struct is used. A job
 * is written by its _init function only and read-only afterwards, so that any number of threads may use it at
 * once; everything from hm_seen on changes, and belongs to one thread at a time.
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
/* Jobs that submissions can be for, levels of difficulty kept for a session, and reasons for a rejection. */
#define HM_BOARD_JOBS 32
#define HM_LEVELS 8
#define HM_MAX_REASONS 16
/* Bytes: the longest extranonce, the longest line of a submission, a record, and the most that an answer takes. */
#define HM_MAX_EXTRANONCE 32
#define HM_MAX_LINE 1024
#define HM_RECORD 64
#define HM_MAX_ANSWER 160

/* What functions that can fail return. */
#define HM_OK 0
#define HM_INVALID (-1)     /* an argument breaks the rule said at the function: a fault of the caller */
#define HM_UNSUPPORTED (-2) /* this CPU or its OS cannot run the kernel */
#define HM_FAULT (-3)       /* the kernel computed something wrong in its self-test */
#define HM_FULL (-4)        /* there is no room; the caller may give more */

/* Why hm_take ended. */
#define HM_ENDED_DONE 0    /* no whole line is left */
#define HM_ENDED_OTHER 1   /* the next line is not for the core to decide */
#define HM_ENDED_SEEN 2    /* the next line is a good share, and its set of hashes has no room */
#define HM_ENDED_RECORDS 3 /* likewise, and the records are full */
#define HM_ENDED_ANSWERS 4 /* the answers may have no room for the next one */

/* Why a submission is rejected: its place in hm_tally. The caller knows more reasons than these. */
#define HM_REASON_STALE 1
#define HM_REASON_DUPLICATE 2
#define HM_REASON_LOW_DIFFICULTY 3

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
    const uint8_t *coinbase2;  /* borrowed */
    size_t coinbase2_length;
    size_t payout_offset, payout_length;
    uint32_t branch_length;
    uint8_t branch[HM_MAX_BRANCH][32];
    uint8_t prev_hash[32];
    uint32_t bits;
} hm_share_job;

/* Prepare a share job. coinbase2 is borrowed; everything else is copied. The coinbase is coinbase1, extranonce1,
 * extranonce2, coinbase2, without witness. The payout is the part of coinbase2 that a share may have its own
 * bytes for: the script that is paid, with its compact size before it; without one, its length is 0.
 * Returns: HM_OK, or HM_INVALID if branch_length is above HM_MAX_BRANCH or the payout is not within coinbase2.
 * Out: job.  In: coinbase1 and coinbase2 with lengths in bytes, where in coinbase2 the payout is, branch (32
 * bytes a level, lowest first) with its length in levels, prev_hash, bits (compact target). */
int hm_share_job_init(hm_share_job *job, const uint8_t *coinbase1, size_t coinbase1_length,
                      const uint8_t *coinbase2, size_t coinbase2_length, size_t payout_offset,
                      size_t payout_length, const uint8_t *branch, uint32_t branch_length,
                      const uint8_t prev_hash[32], uint32_t bits);

/* Rebuild the header of a share and hash it.
 * Out: header, hash.  In: job, the extranonces with lengths in bytes, payout with its length (instead of the
 * job's; 0, or a job that has none, leaves coinbase2 as it is), ntime (unix seconds), nonce, version (whole, as
 * it is to be hashed). */
void hm_share_header(uint8_t header[80], uint8_t hash[32], const hm_share_job *job, const uint8_t *extranonce1,
                     size_t extranonce1_length, const uint8_t *extranonce2, size_t extranonce2_length,
                     const uint8_t *payout, size_t payout_length, uint32_t ntime, uint32_t nonce,
                     uint32_t version);

/* ---- Header hashes seen ----------------------------------------------------------------------------------- */

/* A set of header hashes, each known by its first 16 bytes, in a table of 2^bits slots. The caller gives the
 * memory: a larger one whenever `count` has come to `room`. What is in the smaller one then moves little by little,
 * some with each hash added, so that no call ever takes long. */
typedef struct {
    uint64_t *slots;           /* borrowed: two words each, both zero in a free slot */
    const uint64_t *old_slots; /* borrowed while not null: what they hold is not all moved yet */
    uint32_t bits, old_bits;
    uint64_t moved;            /* of the old slots */
    uint64_t seed;   /* odd, from the caller; secret, so that nobody can choose hashes that crowd one place */
    uint64_t count;  /* hashes in the set */
    uint64_t room;   /* hashes that it may hold; the caller may change it, and leaves a slot free */
} hm_seen;

/* Old slots that are moved with each hash added. */
#define HM_MOVED_SLOTS 4

/* Go over to other memory, which is zeroed, has 2^bits slots, and is borrowed from then on; the memory before it as
 * long as old_slots is not null. A set that is all zero but for its seed is empty and has none.
 * Returns: HM_OK, or HM_INVALID, nothing done, if bits is not in 1..40, room is below the count or leaves no slot
 * free, or if the last move is not over. */
int hm_seen_move(hm_seen *seen, uint64_t *slots, uint32_t bits, uint64_t room);
/* Returns: 1 if the hash is in the set, else 0. */
int hm_seen_has(const hm_seen *seen, const uint8_t hash[32]);
/* Returns: 1 if the hash was added, 0 if it is in the set already, HM_FULL if there is no room for it. */
int hm_seen_add(hm_seen *seen, const uint8_t hash[32]);
/* Add the hashes of those of `count` records that bear the number `tip`.
 * Returns: how many records were looked at: less than `count` if there is no room for the next. */
uint64_t hm_seen_add_records(hm_seen *seen, const uint8_t *records, uint64_t count, uint32_t tip);

/* ---- Submissions ------------------------------------------------------------------------------------------ */

/* The jobs that submissions are judged by, each at its serial modulo HM_BOARD_JOBS. The caller writes all of it. */
typedef struct {
    int present;
    uint64_t serial;
    const hm_share_job *job;  /* borrowed */
    hm_seen *seen;            /* borrowed: the hashes credited on the job's tip */
    uint8_t target[32];       /* the network's, for a pool's job the pool's: what meets it is not for the core */
    uint32_t version, version_mask;
    uint32_t min_time, max_time; /* between them a header's time is good; outside, the core does not say */
    double good_until;        /* unix seconds; infinite for a job that is not superseded */
    uint32_t tip;             /* number of the tip, for the records */
    uint32_t extranonce1_length, extranonce2_length;
} hm_board_job;

typedef struct {
    hm_board_job jobs[HM_BOARD_JOBS];
} hm_board;

/* What one unit handed in. The caller writes and reads all of it, the core adds. */
typedef struct {
    uint64_t accepted;
    double work, work_squared;   /* sums of the credited difficulties, and of their squares */
    double best_difficulty;      /* of a hash that was accepted */
    double best_lately;          /* the same since the caller last made it 0 */
    double last_share_at;        /* unix seconds */
    uint64_t rejected[HM_MAX_REASONS];
} hm_tally;

/* Where accepted shares and answers go; the caller gives the memory and takes the content away.
 * A record has HM_RECORD bytes, its numbers little-endian: unit (4), tip (4), when (8, double, unix seconds),
 * difficulty credited (8, double), serial of the job (8), hash (32). */
typedef struct {
    uint8_t *records;  /* borrowed */
    uint64_t count, capacity;
    char *answers;     /* borrowed */
    size_t answers_length, answers_capacity;
} hm_outbox;

/* The difficulty that a session was given, from the job with the serial `from` on. */
typedef struct {
    uint64_t number, from;
    double difficulty;   /* credited for a share */
    uint8_t target[32];  /* that it has to meet */
} hm_level;

/* One logged-in session. The caller writes all of it, the core what comes after `levels`. */
typedef struct {
    const hm_board *board;  /* borrowed, as are the next four */
    hm_outbox *outbox;
    hm_tally *tally;
    const uint8_t *worker;
    const uint8_t *payout;  /* in place of the job's; null with a length of 0 for the job's own */
    size_t worker_length, payout_length;
    uint32_t unit;
    uint32_t extranonce1_length;
    uint8_t extranonce1[HM_MAX_EXTRANONCE];
    int rolls_version;
    uint32_t version_mask;
    uint32_t level_count;
    hm_level levels[HM_LEVELS]; /* oldest first, numbers growing */
    uint32_t accepted, rejected; /* lines answered by the last hm_take */
    double work;                 /* sum of the difficulties it credited */
    uint32_t wants_room;         /* which job's set has no room, if it ended so */
    int ended;                   /* why it ended, HM_ENDED_... */
} hm_taker;

/* Judge the lines of a chunk from `start` on that are plain submissions, and answer them: each accepted share is in
 * its set, in the records, in the tally and among the answers. It ends before the first line that it cannot decide:
 * any other request; another worker; a job, level or time that it does not know; what is malformed, in need of
 * unescaping, or longer than HM_MAX_LINE; a hash that meets the job's own target, whatever else it is.
 * The answers of the last call are overwritten.
 * Returns: the offset after the last line consumed.
 * Out: taker (accepted, rejected, work, ended), and what its outbox, its tally and the sets of its board's jobs hold.
 * In: data, length in bytes, start (at most length), now (unix seconds). */
size_t hm_take(hm_taker *taker, const uint8_t *data, size_t length, size_t start, double now);

/* The same from the chunk's beginning, for a caller to whom each look at a field is dear.
 * Returns: if every byte was consumed, answers_length + (accepted << 16) + (rejected << 32), unless there are more
 * than 65,535 bytes of answers; otherwise the offset after the last line consumed, as -1 - offset. Out, In: as of hm_take. */
int64_t hm_take_chunk(hm_taker *taker, const uint8_t *data, size_t length, double now);

/* Give a session a new difficulty. The oldest level gives way when there are HM_LEVELS; the newest is replaced
 * when it has the same number.
 * Returns: HM_OK, or HM_INVALID, nothing done, if the number is below the newest level's. */
int hm_taker_set_level(hm_taker *taker, uint64_t number, uint64_t from, double difficulty, const uint8_t target[32]);

/* ---- Answers --------------------------------------------------------------------------------------------- */

/* Write each piece to its socket (a file descriptor) without waiting; behind a piece that was not taken whole, nothing
 * more to that socket.  Returns: how many pieces were not taken whole.
 * Out: sent, count numbers of bytes taken.  In: sockets, lengths, data (all pieces, one after the other), count. */
size_t hm_send(const int32_t *sockets, const uint32_t *lengths, const uint8_t *data, size_t count, uint32_t *sent);

/* ---- Measuring ------------------------------------------------------------------------------------------- */

/* Run `adds` dependent additions, rounded up to a multiple of 16. A core makes one a cycle, so that the time
 * this takes tells the clock at which it runs.  Returns: the sum, so that the loop cannot be left out. */
uint64_t hm_calibrate(uint64_t adds);

#endif
