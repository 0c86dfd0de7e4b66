/* plan.h: the whole API of the planner's kernel: the best path of a unit through the slots of a horizon.
 *
 * Order of arguments, everywhere: outputs first; then the scratch and its length; then the plan; then the inputs.
 *
 * Units: USD, TH/s, kW, hours; prices of power in USD/kWh. A mode is its index in its curve, 0 is off.
 * Shapes: T is plan->slots, N the number of classes asked for. [N, T] is row by row: slot t of path n at n * T + t.
 *
 * Meaning: controller/program.py says what a path may do and what it earns. Ties: a unit stays in its mode, else it takes
 * the first in the order of its curve, which is by watts. The same arguments give the same bits on every machine whose
 * doubles are IEEE 754's: this is built without contraction and reassociation.
 *
 * Ownership: the caller owns every buffer; all pointers are borrowed, and only read but for outputs and scratch. The kernel
 * allocates nothing, keeps nothing, locks nothing. Any number of threads may use one plan at once, each with its own scratch.
 *
 * build.py gives this file to cffi too, so that it holds plain C declarations only.
 */
#ifndef HASHMILL_PLAN_H
#define HASHMILL_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define HM_PLAN_OK 0
#define HM_PLAN_INVALID (-1)   /* a class that the plan does not have */
#define HM_PLAN_SCRATCH (-2)   /* less scratch than hm_plan_scratch asks for */

#define HM_PLAN_UNKNOWN (-1)   /* standing: nobody knows the mode */
#define HM_PLAN_SAME_DAY (-1)  /* days: the slot is of the day of the slot before */

/* Units that are equal in everything. Offsets count entries of the plan's tables. */
typedef struct {
    uint64_t curve;      /* of its modes in th_s and kw, by watts, off first */
    uint64_t on_locks;   /* of T entries in locks: for how many slots after t who is started in t is held on */
    uint64_t off_locks;  /* the same for off */
    uint64_t days;       /* of T entries in days: the starts left when t begins, HM_PLAN_SAME_DAY inside a day; the first unread */
    int64_t allowed;     /* of T * modes bytes in allowed: not 0 where slot t allows mode m; negative for every mode */
    int64_t worth;       /* of its modes in mode_worth_usd; negative for none */
    uint32_t modes;      /* off included, from 2 to 256 */
    uint32_t on_rows;    /* above every entry of on_locks, and above held if it stands on; at least 1 */
    uint32_t off_rows;   /* likewise for off */
    uint32_t levels;     /* above every number of starts left; at least 1 */
    uint32_t starts_left; /* in slot 0 */
    int32_t counted;     /* 0 if starts are not counted: days is not read, levels is 1 */
    int32_t standing;    /* the mode before slot 0, or HM_PLAN_UNKNOWN */
    uint32_t held;       /* so many slots from the first it must stay on, or off; 0 if standing is unknown */
    double restart_h;    /* revenue lost by a start, and by a change between running modes, in hours of the new mode */
    double change_h;
    double wear_usd;     /* per start */
} hm_plan_class;

/* Slots, classes, and the tables that classes point into. In each slot some mode of every class is allowed. */
typedef struct {
    size_t slots, class_count;
    const hm_plan_class *classes;
    const double *hours;            /* [T] */
    const double *usd_per_th;       /* [T] revenue of 1 TH/s for the whole slot */
    const double *usd_per_th_hour;  /* [T] what an hour's hashing is worth when it is lost: not below zero */
    const double *usd_per_kwh;      /* [T] the price of power */
    const double *th_s, *kw;
    const uint32_t *locks;
    const int32_t *days;
    const uint8_t *allowed;
    const double *mode_worth_usd;  /* what being in a mode in slot worth_slot earns more */
    size_t worth_slot;
    double dead_band;  /* share of the difference in slot 0's revenue that every mode but `standing` pays there */
} hm_plan;

/* Returns: the doubles of scratch that hm_plan_best needs for this class, for the greatest of all if it is SIZE_MAX. */
size_t hm_plan_scratch(const hm_plan *plan, size_t class_index);

/* The best path of each of the `count` classes in `of`, where every kWh costs `prices` more.
 * Returns: HM_PLAN_OK, HM_PLAN_INVALID or HM_PLAN_SCRATCH, with outputs half written.
 * Out: value_usd [N], what a path earns less what prices cost it; worth_usd [N], the same without prices; modes [N, T];
 *      kw [N, T], what they draw; early [N, T], 1 where a path changes sides although it is held; may be null.
 * In: prices [T]; of [N]; allowed [T * modes], in place of what all of these classes are allowed; may be null. */
int hm_plan_best(double *value_usd, double *worth_usd, uint8_t *modes, double *kw, uint8_t *early,
                 double *scratch, size_t scratch_length, const hm_plan *plan,
                 const double *prices, const int64_t *of, size_t count, const uint8_t *allowed);

/* What the best path of every class earns for who stands in each of its modes when slot 0 begins, by gains and costs alone: nothing
 * is held, counted or forbidden, and there is no dead band and no mode_worth_usd.
 * Out: value_usd, the modes of one class after those of another. */
void hm_plan_tails(double *value_usd, const hm_plan *plan);

/* Returns: what the path `modes` [T] of a class earns, USD, whether it may take it or not. Its modes must be of the curve. */
double hm_plan_worth(const hm_plan *plan, size_t class_index, const uint8_t *modes);

#endif
