/* scan_avx2.c: the search with AVX2, eight nonces side by side (vector.h). */
#include "internal.h"

#if HM_X86
#include <immintrin.h>

#define VECTOR __attribute__((target("avx2")))
enum { LANES = 8 };

#define mask_of_at_most(x, top) (uint32_t)_mm256_movemask_ps((__m256)((x) <= broadcast(top)))

#include "vector.h"

const hm_kernel hm_kernel_avx2 = {"avx2", LANES, hm_cpu_has_avx2, hm_compress, hm_hash_padded, search};
#endif
