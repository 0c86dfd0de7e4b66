/* scan_avx512.c: the search with AVX-512, sixteen nonces side by side: vector.h with rotations and logic of its
 * own. For CPUs without SHA instructions; with them the joint kernel is faster. */
#include "internal.h"

#if HM_X86
#include <immintrin.h>

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512vl")))
enum { LANES = 16 };

/* Macros where an argument must be a number in the instruction. */
#define rotr(x, n) ((vec)_mm512_ror_epi32((__m512i)(x), (n)))
/* Any function of three bits is one instruction; its number is the function's table of values. */
#define LOGIC(x, y, z, table) ((vec)_mm512_ternarylogic_epi32((__m512i)(x), (__m512i)(y), (__m512i)(z), (table)))
#define xor3(x, y, z) LOGIC(x, y, z, 0x96)
#define choose(x, y, z) LOGIC(x, y, z, 0xca)
#define majority(x, y, z) LOGIC(x, y, z, 0xe8)
#define mask_of_at_most(x, top) _mm512_cmple_epu32_mask((__m512i)(x), _mm512_set1_epi32((int)(top)))

#include "vector.h"

const hm_kernel hm_kernel_avx512 = {"avx512", LANES, hm_cpu_has_avx512, hm_compress, hm_hash_padded, search};
#endif
