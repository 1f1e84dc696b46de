/* plan.h -- what a change of structure would do: slots to remove and slots to insert.
 *
 * Both lists are sorted by (group, source). A plan belongs to the store it was made
 * for, in the generation it had then. Rules fill plans in (rules/); edit.h carries
 * them out. A place that a plan empties may be filled by the same plan: the link is
 * then a newborn like any other. */
#ifndef RW_PLAN_H
#define RW_PLAN_H

#include "base/rng.h"
#include "store/store.h"

typedef struct {
    const rw_store *store;
    uint64_t generation;  /* of the store when the plan was made              */
    bool checked;         /* the function that filled it in makes valid plans: rw_plan_pairs,
                             prune.c, grow_random.c. Code that adds entries clears it */

    int64_t n_del, n_ins;
    int64_t room_del, room_ins;  /* entries the arrays have memory for        */
    int32_t *del_group, *del_position; /* ascending by (group, position)      */
    int32_t *ins_group, *ins_source;   /* ascending by (group, source)        */
    char *ins_weight;     /* n_ins * group values of the store's dtype,
                             or NULL: the weight field's birth value          */
} rw_plan;

/* An empty plan for `s`. NULL when there is no memory. The store must outlive it. */
rw_plan *rw_plan_new(const rw_store *s);
void rw_plan_free(rw_plan *p);
size_t rw_plan_bytes(const rw_plan *p);

/* First entry of a plan's list of groups that is not below g. */
static inline int64_t rw_first_of_group(const int32_t *groups, int64_t n, int32_t g)
{
    RW_ASSERT(n >= 0);
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        if (groups[mid] < g)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Room for this many removals and insertions in all. */
rw_status rw_plan_reserve(rw_plan *p, int64_t n_del, int64_t n_ins);

/* Fill an empty plan from pairs, sorted by (group, source). `weight` holds
 * n_ins * group values of the store's dtype, or is NULL. RW_ERANGE, RW_EEXIST
 * (named twice, or connected and not removed), RW_ENOENT (not connected): *at
 * names the pair. RW_ESHAPE: not sorted. */
rw_status rw_plan_pairs(rw_plan *p, int64_t n_del, const int32_t *del_group,
                        const int32_t *del_source, int64_t n_ins, const int32_t *ins_group,
                        const int32_t *ins_source, const void *weight, rw_fault *at);

/* Add insertions to a plan that has none, beside whatever it removes: sorted, named
 * once, on places that are empty or emptied. Weights and errors as above; on error
 * the plan is as it was. */
rw_status rw_plan_insert(rw_plan *p, int64_t n, const int32_t *group, const int32_t *source,
                         const void *weight, rw_fault *at);

/* Links that the plan would remove and insert again stay: both entries go, and such
 * a link keeps its weights and fields. The plan's new links must not have weights yet
 * (RW_ESHAPE). */
rw_status rw_plan_keep_common(rw_plan *p);

/* The sources of the slots that the plan removes, in the order of its list. RW_ESTALE if the
 * store has changed since the plan was made: `source` is not written then. */
rw_status rw_plan_removed_sources(const rw_plan *p, int32_t *source);

/* Which slots the plan removes: mark[i] becomes 1 for those, 0 for all others, i counting the
 * slots of the store in canonical order. RW_ESTALE as above. */
rw_status rw_plan_removed_marks(const rw_plan *p, uint8_t *mark);

/* Where slots come from: old[i] becomes the number of the slot that will be slot i, both in canonical
 * order, or -1 for a new link; slots - n_del + n_ins of them. So whoever keeps something for each
 * slot elsewhere carries it along. `old` is not written unless the plan is one that commit may
 * carry out: errors as below. O(slots). */
rw_status rw_plan_mapping(const rw_plan *p, int64_t *old, rw_fault *at);

/* The same of a plan that has been carried out, in a store that has not changed since. */
void rw_plan_mapping_after(const rw_plan *p, int64_t *old);

/* Is the plan one that commit may carry out? RW_ESTALE if the store has
 * changed since; else as rw_plan_pairs. O(plan + groups touched). */
rw_status rw_plan_check(const rw_plan *p, rw_fault *at);

/* What carrying the plan out will add to the digest of its store (digest.h), which has not changed
 * since. */
uint64_t rw_plan_digest(const rw_plan *p, int threads);

/* How the weights of a plan's new links are drawn: by (row, source), so that
 * the value does not depend on the other new links. */
typedef enum {
    RW_VALUE_CONSTANT = 0,
    RW_VALUE_UNIFORM = 1,
    RW_VALUE_NORMAL = 2,
    RW_VALUE_SIGN = 3,
    RW_VALUE_OVERSHOOT = 4
} rw_value;
/* How `scale` reads: as it is, or divided by the square root of the number of
 * sources the row has once the plan is carried out ("the real fan-in"). */
typedef enum { RW_FAN_NONE = 0, RW_FAN_REAL = 1 } rw_fan;

/* CONSTANT: scale. UNIFORM: in [-scale, scale). NORMAL: deviation scale
 * (Box-Muller). SIGN: scale or -scale. OVERSHOOT: a random sign times how far beyond zero a
 * normal step of deviation scale ends that crosses it from a uniformly distributed start: of
 * density proportional to 1 - Phi(x / scale). Rows beyond n_out get
 * zero. */
rw_status rw_plan_values(rw_plan *p, rw_value kind, double scale, rw_fan fan, rw_key key,
                         const rw_run *run);

#endif
