/* shift.h -- small edits: made where the slots of a group lie, and in the mirror (internal to
 * edit.c).
 *
 * What is between the slots that go, and behind the new ones, moves in every array; the rest
 * stays. With many edits a group is merged anew (edit.c), which has no branch for each. */
#ifndef RW_SHIFT_H
#define RW_SHIFT_H

#include "base/tuning.h"
#include "store/plan.h"

enum { RW_WIDEST_SLOT = 8 * sizeof(double) /* bytes of the largest slot */ };

/* The arrays that have slots: the sources are the first, then come the fields. */
static inline int32_t rw_n_arrays(const rw_store *s) { return 1 + s->n_fields; }

static inline size_t rw_array_bytes(const rw_store *s, int32_t a)
{
    return a == 0 ? sizeof *s->source : rw_slot_bytes(&s->field[a - 1]);
}

static inline char *rw_array_data(const rw_store *s, int32_t a)
{
    return a == 0 ? (char *)s->source : s->field[a - 1].data;
}

/* Copy the live slots of a group to slot `to`; they do not overlap. */
void rw_group_copy(const rw_store *s, int32_t g, int64_t to);

/* Removals [d, d_end) and insertions [i, i_end) of the plan, at most RW_EDIT_FEW together, all of
 * group g, whose window has room. `birth`: the birth values of a slot, by field. */
void rw_group_shift(rw_store *s, const rw_plan *p, int32_t g, int64_t d, int64_t d_end, int64_t i,
                    int64_t i_end, char (*birth)[RW_WIDEST_SLOT]);

/* Carry a plan into the mirror: before anything is written, and once all groups are. */
void rw_mirror_forget_removed(rw_store *s, const rw_plan *p);
void rw_mirror_note_changes(rw_store *s, const rw_plan *p);

#endif
