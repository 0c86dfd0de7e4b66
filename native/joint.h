/* joint.h: what the joint kernel's driver, scan_joint.c, shares with its machine code, joint_steps.c. */
#ifndef HASHMILL_JOINT_H
#define HASHMILL_JOINT_H

#include "internal.h"

/* The machine code is for the System V convention of x86-64. */
#if defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__)
#define HM_JOINT 1

enum { HM_JOINT_LANES = 8 };

#define HM_JOINT_ALIGNED _Alignas(64)

/* A schedule of block 2 for a group: the nonce words, and in pairs the sums of words 18-63 and constants. */
typedef struct {
    HM_JOINT_ALIGNED uint32_t word[HM_JOINT_LANES];
    HM_JOINT_ALIGNED uint32_t sums[23][2 * HM_JOINT_LANES];
} hm_joint_first;

/* A schedule of the second hash for a unit: its words 0, and in pairs the sums of words 1-60 and constants but
 * for words 9-14; and what it is made from: the states after the first hash, the midstate not yet added. */
typedef struct {
    HM_JOINT_ALIGNED uint32_t word[HM_JOINT_LANES];
    HM_JOINT_ALIGNED uint32_t sums[27][2 * HM_JOINT_LANES];
    HM_JOINT_ALIGNED uint32_t states[8 * HM_JOINT_LANES];
} hm_joint_second;

/* Everything else. */
typedef struct {
    HM_JOINT_ALIGNED uint32_t k[64];
    uint32_t first_constants[16];        /* what words 18-33 get from words that do not vary */
    uint32_t second_constants[16];       /* the same for words 16-31 */
    uint32_t first_sums[24];             /* words 0-17 of block 2 with their constants */
    uint32_t second_sums[16];            /* words 0-15 of the second hash with theirs */
    uint32_t start[8];                   /* state of the second hash after round 0 for a word of zero */
    uint32_t tops[2 * HM_JOINT_LANES];   /* results: odd words are E after round 60 of the second hash */
    uint32_t lanes[HM_JOINT_LANES];      /* 0, 1, 2 ... */
    uint8_t swap[4 * HM_JOINT_LANES];    /* for vpshufb: the bytes of each word reversed */
    uint32_t nonce;                      /* number of the next group's first nonce */
    _Alignas(32) uint32_t spilled[8][HM_JOINT_LANES];
} hm_joint;

/* One step of the pipeline (generate_joint.py): the first hash of one unit with `head`, the second hash's
 * schedule of the unit before with `midstate`, the second hash of the one before that. States are in the order of
 * the SHA instructions, the midstate is not. */
void hm_joint_step(hm_joint *joint, const hm_joint_first *first, hm_joint_second *second,
                   hm_joint_second *next_second, const uint32_t head[8], const uint32_t midstate[8]);
/* The same, and the schedule of block 2 for the group that begins at joint->nonce. */
void hm_joint_step_scheduling(hm_joint *joint, const hm_joint_first *first, hm_joint_second *second,
                              hm_joint_second *next_second, const uint32_t head[8], const uint32_t midstate[8],
                              hm_joint_first *next_first);
#else
#define HM_JOINT 0
#endif

#endif
