/* edit.h -- the one way to change a structure: plan, reserve, commit.
 *
 * A PLAN (plan.h) lists slots to remove and slots to insert. RESERVE checks it
 * against the store and takes all the memory the change needs -- for every layer
 * of a network, when budgets move between layers -- and changes nothing that
 * anybody can see. COMMIT cannot fail. So "all or nothing", "out of memory" and
 * Ctrl-C are solved here, once, for insert, remove, SET and every other rule. */
#ifndef RW_EDIT_H
#define RW_EDIT_H

#include "store/plan.h"

/* A reserved change, ready to be carried out. */
typedef struct rw_edit rw_edit;

/* Check the plan against `s` and take all memory. The plan must be one for `s`; a plan
 * marked `checked` need only be of the store's present generation. Commit may use up
 * to `threads` threads. On success *out is to be given to commit or cancel; until then
 * the plan must live and the store must not change. */
rw_status rw_edit_reserve(rw_store *s, const rw_plan *p, int threads, rw_edit **out, rw_fault *at);
/* Carry it out and free it. Cannot fail. Generation grows; the mirror is edited too, or no
 * longer valid. */
void rw_edit_commit(rw_edit *e);
/* Or do not. */
void rw_edit_cancel(rw_edit *e);

/* All three at once for a plan of one slot, which takes no memory while the group's window has
 * room: insert the slot of a source with `group` weights (NULL: their birth value), or remove
 * it. Errors as above, RW_ENOENT for a slot that is not there. */
rw_status rw_edit_insert(rw_store *s, int32_t group, int32_t source, const void *weight,
                         rw_fault *at);
rw_status rw_edit_remove(rw_store *s, int32_t group, int32_t source, rw_fault *at);

#endif
