/* cpu.c: what this CPU and its OS offer. */
#include "internal.h"

#if HM_X86
#include <cpuid.h>

/* Parts of the registers that the OS keeps when it switches tasks: bits of XCR0. */
enum { YMM = 1 << 1 | 1 << 2, ZMM = YMM | 1 << 5 | 1 << 6 | 1 << 7 };

static int os_keeps(uint32_t parts)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (low & parts) == parts;
}

/* Whether AVX is there, the OS keeps these registers, and leaf 7 has all of these bits in ebx. */
static int has(uint32_t registers, uint32_t features)
{
    unsigned a, b, c, d;

    /* xgetbv itself is there only if the OS has switched it on, which OSXSAVE tells. */
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX) || !os_keeps(registers))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & features) == features;
}

int hm_cpu_has_shani(void) { return has(YMM, bit_SHA); }
int hm_cpu_has_sse2(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (d & bit_SSE2);
}

int hm_cpu_has_avx2(void) { return has(YMM, bit_AVX2); }
int hm_cpu_has_avx512(void) { return has(ZMM, bit_AVX512F | bit_AVX512BW | bit_AVX512VL); }
#endif
