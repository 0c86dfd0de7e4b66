/* cpu.c: what this CPU and its OS offer. */
#include "internal.h"

#if HM_X86
#include <cpuid.h>

/* Whether the OS keeps these parts of the registers when it switches tasks: bits of XCR0. */
static int os_keeps(uint32_t parts)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (low & parts) == parts;
}

int hm_cpu_has_shani(void)
{
    const uint32_t xmm = 1 << 1, ymm = 1 << 2;
    unsigned a, b, c, d;

    /* xgetbv itself is there only if the OS has switched it on, which OSXSAVE tells. */
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX) || !os_keeps(xmm | ymm))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}
#endif
