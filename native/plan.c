/* plan.c: a backward dynamic program over (side, mode, slots held, starts left), then one walk forward along its values.
 *
 * Who is on has a value for every mode, slots still held ("row") and starts left ("level"); who is off one for every row and
 * level. What a change costs depends on where it leads, never on where it comes from, so one maximum over the modes serves
 * them all, and a slot takes modes * rows * levels steps. The walk forward weighs the few choices of one state again
 * instead of remembering those of all, and only where staying is not worth what the state is worth.
 *
 * Modes that run are lanes here: lane m is mode m + 1. Their number is rounded up to an even one; the lanes on top earn
 * minus infinity, as do modes that are not allowed.
 */
#include <math.h>
#include <string.h>

#include "plan.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define MOST_LANES 256
#define MOST_OF(a, b) ((a) > (b) ? (a) : (b))

/* Two lanes side by side. Each lane's sums and products are rounded as by itself, so that the bits are those of plain doubles. */
typedef double pair __attribute__((vector_size(16)));

static inline pair load(const double *p)
{
    pair x;
    memcpy(&x, p, sizeof x); /* scratch need not be aligned */
    return x;
}

static inline void store(double *p, pair x) { memcpy(p, &x, sizeof x); }

static inline pair both(double x) { return (pair){x, x}; }

/* Nothing here is no number, and which of two zeros is taken makes no difference. */
static inline pair most_of(pair a, pair b)
{
#if defined(__SSE2__)
    return (pair)_mm_max_pd((__m128d)a, (__m128d)b);
#elif defined(__aarch64__)
    return (pair)vmaxq_f64((float64x2_t)a, (float64x2_t)b);
#else
    return (pair){MOST_OF(a[0], b[0]), MOST_OF(a[1], b[1])};
#endif
}

/* One class at work. */
typedef struct {
    const hm_plan *plan;
    const hm_plan_class *class;
    const double *prices;
    const uint8_t *allowed;  /* [T * modes], null for every mode */
    const uint32_t *on_locks, *off_locks;
    const int32_t *days;
    const double *worth;     /* [modes] of slot worth_slot, null for none */
    const double *off_kw;    /* the curve's modes, off first; th_s alike */
    const double *off_th;
    size_t lanes, on_level, off_level; /* doubles of a row; of a level's rows, on and off */
    double *th, *kw, *pad;             /* [lanes]: pad is minus infinity in the lanes on top */
    double *on, *off; /* [T + 1, levels, rows, lanes] and [T + 1, levels, rows]: the most that can be earned from slot t on */
} work;

static size_t lanes_of(const hm_plan_class *class) { return ((size_t)class->modes - 1 + 1) & ~(size_t)1; }

size_t hm_plan_scratch(const hm_plan *plan, size_t class_index)
{
    const size_t first = class_index == SIZE_MAX ? 0 : class_index;
    const size_t last = class_index == SIZE_MAX ? plan->class_count : class_index + 1;
    size_t most = 0;

    for (size_t i = first; i < last && i < plan->class_count; i++) {
        const hm_plan_class *class = plan->classes + i;
        const size_t lanes = lanes_of(class);
        const size_t states = (size_t)class->levels * (class->on_rows * lanes + class->off_rows);
        const size_t needed = 3 * lanes + (plan->slots + 1) * states;
        most = MOST_OF(most, needed);
    }
    return most;
}

/* What the modes of a class are; `curve` has room for three rows of lanes. */
static void set_up_curve(work *w, double *curve, const hm_plan *plan, size_t class_index)
{
    const hm_plan_class *class = plan->classes + class_index;
    const size_t lanes = lanes_of(class), running = class->modes - 1;

    w->plan = plan;
    w->class = class;
    w->lanes = lanes;
    w->off_th = plan->th_s + class->curve;
    w->off_kw = plan->kw + class->curve;
    w->th = curve;
    w->kw = w->th + lanes;
    w->pad = w->kw + lanes;
    for (size_t m = 0; m < lanes; m++) {
        w->th[m] = m < running ? w->off_th[m + 1] : 0;
        w->kw[m] = m < running ? w->off_kw[m + 1] : 0;
        w->pad[m] = m < running ? 0 : -INFINITY;
    }
}

static void set_up(work *w, double *scratch, const hm_plan *plan, size_t class_index, const double *prices,
                   const uint8_t *allowed)
{
    const hm_plan_class *class = plan->classes + class_index;

    set_up_curve(w, scratch, plan, class_index);
    w->prices = prices;
    w->allowed = allowed ? allowed : class->allowed < 0 ? NULL : plan->allowed + class->allowed;
    w->on_locks = plan->locks + class->on_locks;
    w->off_locks = plan->locks + class->off_locks;
    w->days = plan->days + class->days;
    w->worth = class->worth < 0 ? NULL : plan->mode_worth_usd + class->worth;
    w->on_level = class->on_rows * w->lanes;
    w->off_level = class->off_rows;
    w->on = w->pad + w->lanes;
    w->off = w->on + (plan->slots + 1) * class->levels * w->on_level;
}

/* What the dead band takes in slot t for each TH/s by which a mode differs from the one before slot 0. */
static double band_of(const hm_plan *plan, const hm_plan_class *class, size_t t)
{
    return t == 0 && class->standing >= 0 ? plan->dead_band * fabs(plan->usd_per_th[0]) : 0;
}

/* What slot t earns and what it costs to get into a mode there, for the lanes that run. A set of its own on the stack of who
 * looks, so that the compiler may keep it in registers. */
typedef struct {
    pair gain[MOST_LANES / 2], start[MOST_LANES / 2], change[MOST_LANES / 2];
    double off_gain;
    int can_on, can_off;
} sight;

/* The same where only gains and costs count. */
static inline __attribute__((always_inline)) void look_plainly(sight *s, const work *w, size_t t, double per_kw,
                                                               const size_t lanes)
{
    const double per_th = w->plan->usd_per_th[t], lost = w->plan->usd_per_th_hour[t];
    const double restart = lost * w->class->restart_h, wear = w->class->wear_usd, change = lost * w->class->change_h;

    for (size_t m = 0; m < lanes; m += 2) {
        const pair th = load(w->th + m), kw = load(w->kw + m);
        s->gain[m / 2] = (both(per_th) * th - both(per_kw) * kw) + load(w->pad + m);
        s->start[m / 2] = both(restart) * th + both(wear);
        s->change[m / 2] = both(change) * th;
    }
    s->off_gain = per_th * w->off_th[0] - per_kw * w->off_kw[0];
}

static inline __attribute__((always_inline)) void look_at(sight *s, const work *w, size_t t, const size_t lanes)
{
    const hm_plan *plan = w->plan;
    const hm_plan_class *class = w->class;

    look_plainly(s, w, t, (plan->usd_per_kwh[t] + w->prices[t]) * plan->hours[t], lanes);
    if (t == 0 && class->standing >= 0) {
        const double band = band_of(plan, class, t), standing = w->off_th[class->standing];
        for (size_t m = 0; m < lanes; m += 2)
            s->gain[m / 2] -= (pair){band * fabs(w->th[m] - standing), band * fabs(w->th[m + 1] - standing)};
        s->off_gain -= band * fabs(w->off_th[0] - standing);
    }
    if (w->worth && t == plan->worth_slot) {
        for (size_t m = 0; m < class->modes - 1; m++)
            s->gain[m / 2][m % 2] += w->worth[m + 1];
        s->off_gain += w->worth[0];
    }
    s->can_on = s->can_off = 1;
    if (w->allowed) {
        const uint8_t *allowed = w->allowed + t * class->modes;
        const size_t running = class->modes - 1;
        s->can_on = 0;
        s->can_off = allowed[0] != 0;
        if (!s->can_off)
            s->off_gain = -INFINITY;
        for (size_t m = 0; m < lanes; m += 2) {
            const int first = allowed[m + 1] != 0, second = m + 1 >= running || allowed[m + 2] != 0;
            const pair open = s->gain[m / 2];
            s->can_on |= first | (m + 1 < running && second);
            s->gain[m / 2] = (pair){first ? open[0] : -INFINITY, second ? open[1] : -INFINITY};
        }
    }
}

/* The starts left when slot t begins, of who had `level` at the end of the slot before. */
static size_t begun(const work *w, size_t t, size_t level)
{
    if (!w->class->counted || t >= w->plan->slots || w->days[t] == HM_PLAN_SAME_DAY)
        return level;
    return (size_t)w->days[t];
}

static const double *on_rows(const work *w, size_t t, size_t level)
{
    return w->on + (t * w->class->levels + level) * w->on_level;
}

static const double *off_rows(const work *w, size_t t, size_t level)
{
    return w->off + (t * w->class->levels + level) * w->off_level;
}

static size_t row_after(size_t row) { return row ? row - 1 : 0; }

/* The row of slot t + 1 that holds who is started in slot t with so many starts left. */
static const double *started_row(const work *w, size_t t, size_t level, const size_t lanes)
{
    return on_rows(w, t + 1, begun(w, t + 1, row_after(level))) + w->on_locks[t] * lanes;
}

/* The most that who is started can earn from there; `next` is the row that holds him on afterwards. */
static inline __attribute__((always_inline)) double started(const sight *s, const double *next, const size_t lanes)
{
    pair most = both(-INFINITY);

    for (size_t m = 0; m < lanes; m += 2)
        most = most_of(most, (s->gain[m / 2] + load(next + m)) - s->start[m / 2]);
    return MOST_OF(most[0], most[1]);
}

/* One row of who is on: `values` from `next`; `stop` is what turning off brings, minus infinity for who must not. */
static inline __attribute__((always_inline)) void on_row(double *values, const double *next, const sight *s, double stop,
                                                         const size_t lanes)
{
    pair stay[MOST_LANES / 2], most = both(stop);

    for (size_t m = 0; m < lanes; m += 2) {
        stay[m / 2] = s->gain[m / 2] + load(next + m);
        most = most_of(most, stay[m / 2] - s->change[m / 2]);
    }
    most = most_of(most, (pair){most[1], most[0]});
    for (size_t m = 0; m < lanes; m += 2)
        store(values + m, most_of(stay[m / 2], most));
}

static inline __attribute__((always_inline)) void backward(const work *w, const size_t lanes)
{
    const hm_plan_class *class = w->class;
    const size_t slots = w->plan->slots, levels = class->levels;

    memset(w->on + slots * levels * w->on_level, 0, levels * w->on_level * sizeof *w->on);
    memset(w->off + slots * levels * w->off_level, 0, levels * w->off_level * sizeof *w->off);
    for (size_t t = slots; t-- > 0;) {
        sight s;
        look_at(&s, w, t, lanes);
        for (size_t level = 0; level < levels; level++) {
            const size_t then = begun(w, t + 1, level);
            const double *on_next = on_rows(w, t + 1, then), *off_next = off_rows(w, t + 1, then);
            double *on = w->on + (t * levels + level) * w->on_level, *off = w->off + (t * levels + level) * w->off_level;
            const double stop = s.off_gain + off_next[w->off_locks[t]];
            const double start = started(&s, started_row(w, t, level, lanes), lanes);

            on_row(on, on_next, &s, stop, lanes);
            for (size_t row = 1; row < class->on_rows; row++)
                on_row(on + row * lanes, on_next + (row - 1) * lanes, &s, s.can_on ? -INFINITY : stop, lanes);
            for (size_t row = 0; row < class->off_rows; row++) {
                const double stay = s.off_gain + off_next[row_after(row)];
                const int free = !s.can_off || (row == 0 && (level > 0 || !class->counted));
                off[row] = free ? MOST_OF(stay, start) : stay;
            }
        }
    }
}

/* The best mode in slot t for who comes from `before` with so many slots held and starts left. */
static inline __attribute__((always_inline)) int choose(const work *w, size_t t, int before, size_t row, size_t level,
                                                        const size_t lanes)
{
    const hm_plan_class *class = w->class;
    const size_t then = begun(w, t + 1, level);
    const double *on_next = on_rows(w, t + 1, then), *off_next = off_rows(w, t + 1, then);
    const pair *costs;
    double best = -INFINITY, present = -INFINITY;
    int chosen = 0;
    sight s;

    look_at(&s, w, t, lanes);
    costs = s.change;
    if (before <= 0) {
        best = present = s.off_gain + off_next[row_after(row)];
        on_next += row_after(row) * lanes;
    } else {
        if (row == 0 || !s.can_on)
            best = s.off_gain + off_next[w->off_locks[t]];
        on_next += row_after(row) * lanes;
    }
    if (before == 0) {
        if (s.can_off && (row > 0 || (level == 0 && class->counted)))
            return 0;
        on_next = started_row(w, t, level, lanes);
        costs = s.start;
    }
    for (int m = 0; m < (int)class->modes - 1; m++) {
        double value = s.gain[m / 2][m % 2] + on_next[m];
        if (before == m + 1)
            present = value;
        else if (before != HM_PLAN_UNKNOWN)
            value -= costs[m / 2][m % 2];
        if (value > best) {
            best = value;
            chosen = m + 1;
        }
    }
    return before != HM_PLAN_UNKNOWN && present == best ? before : chosen;
}

/* What the step from `before` to `mode` earns in slot t where power costs `usd_per_kwh`. */
static double earned(const hm_plan *plan, const hm_plan_class *class, size_t t, int before, int mode, double usd_per_kwh)
{
    const double *th = plan->th_s + class->curve, *kw = plan->kw + class->curve;
    const double per_th = plan->usd_per_th[t], per_kw = usd_per_kwh * plan->hours[t];
    double gain = per_th * th[mode] - per_kw * kw[mode];

    if (t == 0 && class->standing >= 0)
        gain -= band_of(plan, class, t) * fabs(th[mode] - th[class->standing]);
    if (t == plan->worth_slot && class->worth >= 0)
        gain += plan->mode_worth_usd[class->worth + mode];
    if (before == 0 && mode > 0)
        gain -= plan->usd_per_th_hour[t] * class->restart_h * th[mode] + class->wear_usd;
    else if (before > 0 && mode > 0 && mode != before)
        gain -= plan->usd_per_th_hour[t] * class->change_h * th[mode];
    return gain;
}

/* Whether who is in `mode` does best to stay, told from what its state is worth, without a look at other modes: in an allowed
 * mode that earns `gain`, which is all there is to staying but for the dead band of slot 0. */
static inline __attribute__((always_inline)) int stays(const work *w, size_t t, int mode, size_t row, size_t level, double gain,
                                                       const size_t lanes)
{
    const size_t then = begun(w, t + 1, level), lane = (size_t)mode - 1;

    if (w->allowed && !w->allowed[t * w->class->modes + (size_t)mode])
        return 0;
    if (mode == 0)
        return gain + off_rows(w, t + 1, then)[row_after(row)] == off_rows(w, t, level)[row];
    return gain + on_rows(w, t + 1, then)[row_after(row) * lanes + lane] == on_rows(w, t, level)[row * lanes + lane];
}

static inline __attribute__((always_inline)) void forward(const work *w, double *value_usd, double *worth_usd,
                                                          uint8_t *modes, double *kw, uint8_t *early, const size_t lanes)
{
    const hm_plan *plan = w->plan;
    const hm_plan_class *class = w->class;
    size_t row = class->held, level = class->starts_left;
    int before = class->standing;
    double value = 0, worth = 0;

    for (size_t t = 0; t < plan->slots; t++) {
        const double own = plan->usd_per_kwh[t], dear = own + w->prices[t];
        int mode = before, crosses = 0;
        double gain = 0, earns = 0;

        if (t > 0) {
            const double revenue = plan->usd_per_th[t] * w->off_th[before], drawn = w->off_kw[before];
            gain = revenue - dear * plan->hours[t] * drawn;
            earns = revenue - own * plan->hours[t] * drawn;
            if (w->worth && t == plan->worth_slot) {
                gain += w->worth[before];
                earns += w->worth[before];
            }
        }
        if (t == 0 || !stays(w, t, before, row, level, gain, lanes)) {
            mode = choose(w, t, before, row, level, lanes);
            crosses = before != HM_PLAN_UNKNOWN && (mode > 0) != (before > 0);
            gain = earned(plan, class, t, before, mode, dear);
            earns = earned(plan, class, t, before, mode, own);
        }
        value += gain;
        worth += earns;
        modes[t] = (uint8_t)mode;
        kw[t] = w->off_kw[mode];
        if (early)
            early[t] = crosses && row > 0;
        level = begun(w, t + 1, crosses && mode > 0 ? row_after(level) : level);
        row = !crosses ? row_after(row) : mode > 0 ? w->on_locks[t] : w->off_locks[t];
        before = mode;
    }
    *value_usd = value;
    *worth_usd = worth;
}

/* A class of off and one mode for which nothing is held, counted or forbidden: lanes and rows would only cost it time. The same sums
 * in the same order as `backward` and `forward`. */
static int is_plain(const work *w)
{
    const hm_plan_class *class = w->class;

    return class->modes == 2 && class->on_rows == 1 && class->off_rows == 1 && !class->counted && !w->allowed;
}

/* What slot t earns who is off and who is on there, and what a start costs. */
typedef struct {
    double rest, run, start;
} plain_sight;

static inline plain_sight look_at_both(const work *w, size_t t, double usd_per_kwh)
{
    const hm_plan *plan = w->plan;
    const double per_th = plan->usd_per_th[t], per_kw = usd_per_kwh * plan->hours[t];

    return (plain_sight){per_th * w->off_th[0] - per_kw * w->off_kw[0], per_th * w->off_th[1] - per_kw * w->off_kw[1],
                         plan->usd_per_th_hour[t] * w->class->restart_h * w->off_th[1] + w->class->wear_usd};
}

static void solve_plain(const work *w, double *value_usd, double *worth_usd, uint8_t *modes, double *kw, uint8_t *early)
{
    const hm_plan *plan = w->plan;
    const hm_plan_class *class = w->class;
    const double *th = w->off_th, *draws = w->off_kw;
    double (*left)[2] = (double (*)[2])w->on; /* [T + 1]: the most that can be earned from slot t on by who is off, and on */
    double value = 0, worth = 0;
    plain_sight s = {0};
    int mode = class->standing;

    left[plan->slots][0] = left[plan->slots][1] = 0;
    for (size_t t = plan->slots; t-- > 0;) {
        const double dear = plan->usd_per_kwh[t] + w->prices[t];

        s = look_at_both(w, t, dear);
        if (t == 0 || t == plan->worth_slot) {
            s.rest = earned(plan, class, t, 0, 0, dear);
            s.run = earned(plan, class, t, 1, 1, dear);
        }
        s.rest += left[t + 1][0];
        s.run += left[t + 1][1];
        left[t][0] = MOST_OF(s.rest, s.run - s.start);
        left[t][1] = MOST_OF(s.run, s.rest);
    }
    for (size_t t = 0; t < plan->slots; t++) {
        const int before = mode;
        const double own = plan->usd_per_kwh[t], dear = own + w->prices[t];
        double gain = 0, earns = 0;

        if (t == 0) {
            mode = before < 0 ? s.run > s.rest : before ? s.run >= s.rest : s.run - s.start > s.rest;
        } else {
            const double revenue = plan->usd_per_th[t] * th[before], drawn = draws[before];
            gain = revenue - dear * plan->hours[t] * drawn;
            earns = revenue - own * plan->hours[t] * drawn;
            if (t == plan->worth_slot && w->worth)
                gain += w->worth[before];
            mode = gain + left[t + 1][before] == left[t][before] ? before : !before;
        }
        if (t == 0 || t == plan->worth_slot || mode != before) {
            gain = earned(plan, class, t, before, mode, dear);
            earns = earned(plan, class, t, before, mode, own);
        }
        value += gain;
        worth += earns;
        modes[t] = (uint8_t)mode;
        kw[t] = draws[mode];
    }
    if (early)
        memset(early, 0, plan->slots);
    *value_usd = value;
    *worth_usd = worth;
}

static inline __attribute__((always_inline)) void solve(work *w, double *value_usd, double *worth_usd, uint8_t *modes,
                                                        double *kw, uint8_t *early, const size_t lanes)
{
    backward(w, lanes);
    forward(w, value_usd, worth_usd, modes, kw, early, lanes);
}

int hm_plan_best(double *value_usd, double *worth_usd, uint8_t *modes, double *kw, uint8_t *early,
                 double *scratch, size_t scratch_length, const hm_plan *plan,
                 const double *prices, const int64_t *of, size_t count, const uint8_t *allowed)
{
    work w;

    for (size_t n = 0; n < count; n++) {
        if (of[n] < 0 || (uint64_t)of[n] >= plan->class_count)
            return HM_PLAN_INVALID;
        if (scratch_length < hm_plan_scratch(plan, (size_t)of[n]))
            return HM_PLAN_SCRATCH;
        set_up(&w, scratch, plan, (size_t)of[n], prices, allowed);
        double *value = value_usd + n, *worth = worth_usd + n, *drawn = kw + n * plan->slots;
        uint8_t *path = modes + n * plan->slots, *hasty = early ? early + n * plan->slots : NULL;
        if (is_plain(&w)) {
            solve_plain(&w, value, worth, path, drawn, hasty);
            continue;
        }
        switch (w.lanes) { /* a number that the compiler knows makes a loop of few steps straight code */
        case 2: solve(&w, value, worth, path, drawn, hasty, 2); break;
        case 4: solve(&w, value, worth, path, drawn, hasty, 4); break;
        case 6: solve(&w, value, worth, path, drawn, hasty, 6); break;
        case 8: solve(&w, value, worth, path, drawn, hasty, 8); break;
        default: solve(&w, value, worth, path, drawn, hasty, w.lanes); break;
        }
    }
    return HM_PLAN_OK;
}

/* What is left to earn, slot by slot from the last to the first: on by lanes, off. */
static inline __attribute__((always_inline)) void tail(const work *w, double *value_usd, const size_t lanes)
{
    const hm_plan *plan = w->plan;
    double on[MOST_LANES] = {0}, off = 0;

    for (size_t t = plan->slots; t-- > 0;) {
        sight s;
        look_plainly(&s, w, t, plan->usd_per_kwh[t] * plan->hours[t], lanes);
        const double stop = s.off_gain + off, start = started(&s, on, lanes);
        on_row(on, on, &s, stop, lanes);
        off = MOST_OF(stop, start);
    }
    value_usd[0] = off;
    memcpy(value_usd + 1, on, (w->class->modes - 1) * sizeof *on);
}

static void tail_of_both(const work *w, double *value_usd)
{
    double off = 0, on = 0;

    for (size_t t = w->plan->slots; t-- > 0;) {
        const plain_sight s = look_at_both(w, t, w->plan->usd_per_kwh[t]);
        const double rest = s.rest + off, run = s.run + on;
        off = MOST_OF(rest, run - s.start);
        on = MOST_OF(run, rest);
    }
    value_usd[0] = off;
    value_usd[1] = on;
}

void hm_plan_tails(double *value_usd, const hm_plan *plan)
{
    double curve[3 * MOST_LANES];
    work w;

    for (size_t i = 0; i < plan->class_count; i++) {
        set_up_curve(&w, curve, plan, i);
        if (w.class->modes == 2) {
            tail_of_both(&w, value_usd);
            value_usd += 2;
            continue;
        }
        switch (w.lanes) {
        case 2: tail(&w, value_usd, 2); break;
        case 4: tail(&w, value_usd, 4); break;
        case 6: tail(&w, value_usd, 6); break;
        case 8: tail(&w, value_usd, 8); break;
        default: tail(&w, value_usd, w.lanes); break;
        }
        value_usd += w.class->modes;
    }
}

double hm_plan_worth(const hm_plan *plan, size_t class_index, const uint8_t *modes)
{
    const hm_plan_class *class = plan->classes + class_index;
    double worth = 0;
    int before = class->standing;

    for (size_t t = 0; t < plan->slots; t++) {
        worth += earned(plan, class, t, before, modes[t], plan->usd_per_kwh[t]);
        before = modes[t];
    }
    return worth;
}
