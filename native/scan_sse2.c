/* scan_sse2.c: the search with SSE2, which every x86-64 has, four nonces side by side (vector.h). */
#include "internal.h"

#if HM_X86
#include <immintrin.h>

#define VECTOR __attribute__((target("sse2")))
enum { LANES = 4 };

#define mask_of_at_most(x, top) (uint32_t)_mm_movemask_ps((__m128)((x) <= broadcast(top)))

#include "vector.h"

const hm_kernel hm_kernel_sse2 = {"sse2", LANES, hm_cpu_has_sse2, hm_compress, hm_hash_padded, search};
#endif
