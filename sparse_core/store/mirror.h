/* mirror.h -- the fan-out mirror of a store: the slots of each source.
 *
 * Each source owns a WINDOW of entries; the windows follow each other in the order of the
 * sources, each with its entries first and free room after them, as a packed store has it:
 *
 *               start[4]                  start[5]
 *                 v                         v
 *      group ...  |  2 |  7 | 30 |  .  |    |  0 |  9 |  .  |  .  | ...
 *                 '--- len[4] ---'-free-'   '- len[5] '
 *
 * A small edit is carried into it: what leaves or joins a source moves the entries behind it
 * in the window, and slots that moved up or down in their groups get their new positions. A
 * full window takes room from the nearest ones that have some, with all that lies between moved. Where none has any the mirror is no longer valid, as after a large edit, and is
 * built again when asked for. How its windows lie leaves no trace in any result.
 *
 * Derived from the rows, so it may be dropped at any time (rw_store_drop_mirror). */
#ifndef RW_MIRROR_H
#define RW_MIRROR_H

#include "store/store.h"

/* Build the mirror if it is not valid. RW_ENOMEM leaves the store without one:
 * callers then scatter, which gives the same bits. */
rw_status rw_mirror_build(rw_store *s, int threads);

/* Does a mirror pay? It takes memory for every source: where these are many times as many as the
 * slots and groups, whoever wants the slots of one source asks the groups. */
bool rw_mirror_pays(const rw_store *s);

/* Entries a mirror of so many slots has memory for when it is built. */
int64_t rw_mirror_room(int64_t slots);

/* Carrying an edit of group g into a valid mirror: before the group is written, forget each
 * source that it loses; afterwards note all slots from position `from` on, before which
 * nothing has changed. Where there is no room the mirror is no longer valid, and the other
 * calls do nothing. */
void rw_mirror_forget(rw_store *s, int32_t g, int32_t source);
void rw_mirror_note(rw_store *s, int32_t g, int32_t from);

#endif
