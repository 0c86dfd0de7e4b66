/* check.c: the planner's kernel tested from C, so that it can run under the sanitizers (test_plan.py builds and runs it).
 *
 * Small random classes are planned by the kernel and by trying every path. The second way knows what a path may do from the words
 * in controller/program.py alone. What is printed at the end is a digest of all values and paths: the same bits on every machine. All buffers are of exactly the size that plan.h asks for, on the heap, so that a step beside them is seen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

#define MOST_SLOTS 8
#define MOST_MODES 4

static uint32_t random_below(uint32_t n)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

static double random_between(double low, double high) { return low + (high - low) * random_below(1000003) / 1000003; }

static uint64_t digest = 14695981039346656037u;

static void note(const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        digest = (digest ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

static void *exactly(size_t size)
{
    void *memory = malloc(size ? size : 1);
    CHECK(memory);
    return memory;
}

/* One instance: its tables, each at the end of a block of its own. */
typedef struct {
    hm_plan plan;
    hm_plan_class *class;
    double *hours, *per_th, *per_th_hour, *per_kwh, *th, *kw, *prices, *worth;
    uint32_t *locks;
    int32_t *days;
    uint8_t *allowed;
} instance;

static uint32_t fill_locks(uint32_t *row, size_t slots)
{
    const uint32_t dwell = random_below(2) ? 0 : random_below(4);
    uint32_t most = 0;

    for (size_t t = 0; t < slots; t++) {
        row[t] = dwell && random_below(5) == 0 ? random_below(3) : dwell; /* uneven slots */
        if (t && row[t] + 1 < row[t - 1])
            row[t] = row[t - 1] - 1; /* who starts later is not free earlier */
        if (row[t] > slots - 1 - t)
            row[t] = (uint32_t)(slots - 1 - t);
        most = row[t] > most ? row[t] : most;
    }
    return most;
}

static void make(instance *x)
{
    const size_t slots = 1 + random_below(MOST_SLOTS), modes = 2 + random_below(MOST_MODES - 1);
    hm_plan_class *class = x->class = exactly(sizeof *class);
    uint32_t most = 0;

    memset(class, 0, sizeof *class);
    x->hours = exactly(slots * sizeof(double));
    x->per_th = exactly(slots * sizeof(double));
    x->per_th_hour = exactly(slots * sizeof(double));
    x->per_kwh = exactly(slots * sizeof(double));
    x->prices = exactly(slots * sizeof(double));
    x->th = exactly(modes * sizeof(double));
    x->kw = exactly(modes * sizeof(double));
    x->worth = exactly(modes * sizeof(double));
    x->locks = exactly(2 * slots * sizeof(uint32_t));
    x->days = exactly(slots * sizeof(int32_t));
    x->allowed = exactly(slots * modes);
    class->modes = (uint32_t)modes;
    class->off_locks = slots;
    class->counted = random_below(2) != 0;
    class->standing = (int32_t)random_below((uint32_t)modes + 1) - 1;
    class->held = class->standing >= 0 ? random_below((uint32_t)slots + 1) : 0;
    class->on_rows = fill_locks(x->locks, slots) + 1;
    class->off_rows = fill_locks(x->locks + slots, slots) + 1;
    if (class->standing > 0 && class->held >= class->on_rows)
        class->on_rows = class->held + 1;
    if (class->standing == 0 && class->held >= class->off_rows)
        class->off_rows = class->held + 1;
    class->starts_left = class->counted ? random_below(3) : 0;
    class->restart_h = random_below(2) ? random_between(0, 0.3) : 0;
    class->change_h = random_below(2) ? random_between(0, 0.1) : 0;
    class->wear_usd = random_below(3) ? 0 : random_between(0, 0.1);
    class->allowed = random_below(2) ? 0 : -1;
    class->worth = random_below(2) ? 0 : -1;
    for (size_t m = 0; m < modes; m++) {
        x->th[m] = m ? x->th[m - 1] + random_between(10, 90) : 0;
        x->worth[m] = random_between(-0.1, 0.1);
        x->kw[m] = m ? x->kw[m - 1] + random_between(0.1, 2) : random_between(0, 0.02);
    }
    for (size_t t = 0; t < slots; t++) {
        const double hashprice = random_between(20, 60);
        x->hours[t] = random_below(3) ? 0.25 : random_between(0.02, 0.5);
        x->per_th_hour[t] = hashprice / 24000;
        x->per_th[t] = hashprice / 24000 * x->hours[t];
        x->per_kwh[t] = random_between(-0.05, 0.2);
        x->prices[t] = random_below(3) ? 0 : random_between(0, 0.05);
        x->days[t] = random_below(5) ? HM_PLAN_SAME_DAY : (int32_t)random_below(3);
        if (t && x->days[t] > (int32_t)most)
            most = (uint32_t)x->days[t];
        for (size_t m = 0; m < modes; m++)
            x->allowed[t * modes + m] = random_below(5) > 1;
        x->allowed[t * modes + random_below((uint32_t)modes)] = 1;
    }
    most = class->starts_left > most ? class->starts_left : most;
    class->levels = class->counted ? most + 1 : 1;
    x->plan = (hm_plan){.slots = slots, .class_count = 1, .classes = class, .hours = x->hours, .usd_per_th = x->per_th,
                        .usd_per_th_hour = x->per_th_hour, .usd_per_kwh = x->per_kwh, .th_s = x->th, .kw = x->kw,
                        .mode_worth_usd = x->worth, .worth_slot = random_below((uint32_t)slots),
                        .locks = x->locks, .days = x->days, .allowed = x->allowed,
                        .dead_band = random_below(2) ? random_between(0, 0.3) : 0};
}

static void drop(instance *x)
{
    free(x->class), free(x->hours), free(x->per_th), free(x->per_th_hour), free(x->per_kwh);
    free(x->prices), free(x->worth), free(x->th), free(x->kw), free(x->locks), free(x->days), free(x->allowed);
}

static int is_allowed(const instance *x, size_t t, int mode)
{
    return x->class->allowed < 0 || x->allowed[t * x->class->modes + (size_t)mode];
}

/* Whether any mode of that side is allowed. */
static int has_side(const instance *x, size_t t, int on)
{
    int found = 0;
    for (int m = on; m <= (on ? (int)x->class->modes - 1 : 0); m++)
        found |= is_allowed(x, t, m);
    return found;
}

/* The most from slot t on for who is in `before`, may not change sides before slot `free_at`, and has `starts` left: every
 * path is tried. */
static double try_all(const instance *x, size_t t, int before, size_t free_at, int starts)
{
    const hm_plan_class *class = x->class;
    double best = -INFINITY;

    if (t == x->plan.slots)
        return 0;
    if (t > 0 && class->counted && x->days[t] != HM_PLAN_SAME_DAY)
        starts = x->days[t];
    for (int mode = 0; mode < (int)class->modes; mode++) {
        const int known = before >= 0, crosses = known && (mode > 0) != (before > 0);
        const int must = known && !has_side(x, t, before > 0);
        const int begins = crosses && mode > 0;
        double earns;

        if (!is_allowed(x, t, mode) || (crosses && !must && t < free_at))
            continue;
        if (begins && !must && class->counted && starts == 0)
            continue;
        earns = x->per_th[t] * x->th[mode] - (x->per_kwh[t] + x->prices[t]) * x->hours[t] * x->kw[mode];
        if (t == 0 && known)
            earns -= x->plan.dead_band * x->per_th[0] * fabs(x->th[mode] - x->th[before]);
        if (t == x->plan.worth_slot && class->worth >= 0)
            earns += x->worth[mode];
        if (begins)
            earns -= x->per_th_hour[t] * x->th[mode] * class->restart_h + class->wear_usd;
        if (known && before > 0 && mode > 0 && mode != before)
            earns -= x->per_th_hour[t] * x->th[mode] * class->change_h;
        earns += try_all(x, t + 1, mode, !crosses ? free_at : t + 1 + x->locks[(mode > 0 ? 0 : x->plan.slots) + t],
                         begins && starts > 0 ? starts - 1 : starts);
        best = earns > best ? earns : best;
    }
    return best;
}

/* What is left from each mode on, against every path of an instance in which nothing binds any more. */
static void compare_tails(instance *x)
{
    const size_t slots = x->plan.slots, modes = x->class->modes;
    double *tails = exactly(modes * sizeof(double));

    hm_plan_tails(tails, &x->plan);
    x->class->counted = 0;
    x->class->allowed = x->class->worth = -1;
    x->plan.dead_band = 0;
    memset(x->prices, 0, slots * sizeof(double));
    memset(x->locks, 0, 2 * slots * sizeof(uint32_t));
    for (int mode = 0; mode < (int)modes; mode++)
        CHECK(fabs(tails[mode] - try_all(x, 0, mode, 0, 0)) < 1e-12);
    note(tails, modes * sizeof *tails);
    free(tails);
}

static void plan_and_compare(void)
{
    instance x;
    make(&x);
    const size_t slots = x.plan.slots, needed = hm_plan_scratch(&x.plan, SIZE_MAX);
    const int64_t of[2] = {0, 0}, wrong = 1;
    double *value = exactly(2 * sizeof(double)), *worth = exactly(2 * sizeof(double));
    double *scratch = exactly(needed * sizeof(double)), *kw = exactly(2 * slots * sizeof(double));
    uint8_t *modes = exactly(2 * slots), *early = exactly(2 * slots);

    CHECK(needed == hm_plan_scratch(&x.plan, 0) && hm_plan_scratch(&x.plan, 1) == 0);
    memset(scratch, 0xff, needed * sizeof(double)); /* not a number, everywhere */
    CHECK(hm_plan_best(value, worth, modes, kw, early, scratch, needed, &x.plan, x.prices, of, 2, NULL) == HM_PLAN_OK);
    const double best = try_all(&x, 0, x.class->standing, x.class->held, (int)x.class->starts_left);
    CHECK(fabs(value[0] - best) < 1e-12);
    CHECK(memcmp(value, value + 1, sizeof *value) == 0 && memcmp(modes, modes + slots, slots) == 0);
    CHECK(hm_plan_worth(&x.plan, 0, modes) == worth[0]);
    for (size_t t = 0; t < slots; t++)
        CHECK(is_allowed(&x, t, modes[t]) && kw[t] == x.kw[modes[t]]);

    note(value, sizeof *value);
    note(worth, sizeof *worth);
    note(modes, slots);

    /* What these classes are allowed may be given anew; nothing new is the same. */
    const double before = value[0];
    if (x.class->allowed >= 0) {
        x.class->allowed = -1;
        CHECK(hm_plan_best(value, worth, modes, kw, NULL, scratch, needed, &x.plan, x.prices, of, 1, x.allowed) ==
              HM_PLAN_OK);
        CHECK(memcmp(&before, value, sizeof before) == 0);
    }
    CHECK(hm_plan_best(value, worth, modes, kw, early, scratch, needed - 1, &x.plan, x.prices, of, 1, NULL) ==
          HM_PLAN_SCRATCH);
    CHECK(hm_plan_best(value, worth, modes, kw, early, scratch, needed, &x.plan, x.prices, &wrong, 1, NULL) ==
          HM_PLAN_INVALID);
    if (random_below(8) == 0)
        compare_tails(&x);
    free(value), free(worth), free(scratch), free(kw), free(modes), free(early);
    drop(&x);
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? atoi(argv[1]) : 1000;

    for (int i = 0; i < rounds; i++)
        plan_and_compare();
    printf("plan: good %016llx\n", (unsigned long long)digest);
    return 0;
}
