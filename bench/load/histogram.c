/* histogram.c: counts times in buckets whose width grows with the time. */
#include <string.h>

#include "load.h"

enum { STEP_BITS = 6 };
_Static_assert(HISTOGRAM_STEPS == 1 << STEP_BITS, "steps to a doubling");
_Static_assert(HISTOGRAM_BUCKETS == HISTOGRAM_STEPS * (64 - STEP_BITS + 1), "a bucket for every 64-bit time");

/* Below 2 * STEPS a bucket is one nanosecond wide; each doubling after has STEPS buckets. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < HISTOGRAM_STEPS)
        return (size_t)ns;
    int shift = 63 - __builtin_clzll(ns) - STEP_BITS;
    return (size_t)(HISTOGRAM_STEPS * shift) + (size_t)(ns >> shift);
}

static uint64_t top_of(size_t bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    int shift = (int)(bucket / HISTOGRAM_STEPS) - 1;
    return ((bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << shift) - 1;
}

void histogram_clear(histogram *h) { memset(h, 0, sizeof *h); }

void histogram_add(histogram *h, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    if (h->count == 0 || ns < h->min)
        h->min = ns;
    if (ns > h->max)
        h->max = ns;
    h->count++;
    h->sum += (double)ns;
    h->bucket[bucket_of((uint64_t)ns)]++;
}

int64_t histogram_quantile(const histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;

    if ((double)wanted < share * (double)h->count)
        wanted++;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted && seen > 0) {
            int64_t top = (int64_t)top_of(i);
            return top > h->max ? h->max : top < h->min ? h->min : top;
        }
    }
    return h->max;
}
