/* store.h -- mutable sparse weights: the structure everything else stands on.
 *
 * A layer of n_out neurons with links from n_in sources. Neighbouring neurons
 * form GROUPS of `group` rows (1, 2, 4 or 8; 1 is the plain case of the same
 * code) that share one list of sources. Each group owns a WINDOW of slots in
 * arrays shared by the whole layer: live slots first, sorted by source, free
 * slots after them.
 *
 *                 start            start+len     start+cap
 *                   v                  v             v
 *      source  ...  |   4 |   9 |  17  |  .  |  .  | ...     one int32 a slot
 *      weight  ...  |  .2 | -.7 |  .1  |  .  |  .  | ...     `group` values a slot
 *      momentum...  |  0. |  .3 |  0.  |  .  |  .  | ...     a registered field
 *                   '--- live (len) ---'-- free ---'
 *
 * WHAT IS A SLOT? A source, `group` weights -- one for each row of the group --
 * and as many registered FIELDS as the optimizer and the rewiring rule need,
 * each in an array of its own, so that a kernel streams only what it reads. A
 * slot is the unit of every edit and of every budget.
 *
 * WHERE DOES A FULL GROUP GO? To a larger window from the POOL; the old window
 * goes back to it. The pool costs no memory: a free window of at least four
 * slots holds its own link and its size in its source slots, in one list for
 * every power of two; a smaller one is lost until the next repacking. A
 * rewiring of the whole layer does not use the pool: it reads the windows into
 * small buffers, a little ahead, and writes them anew from the start of the arena
 * with the new links merged in, so the layer is packed again (1/16 and a slot of
 * slack) after one pass, on as many threads as there are. The
 * same happens to smaller edits as soon as a tenth of the arena would be waste.
 *
 * WHY NOT deferred edits, as in SuiteSparse:GraphBLAS? Kernels run thousands of
 * times between two edits; they must never test whether a slot is in use.
 *
 * What a result depends on: the structure and the values, nothing else. Edit
 * history, windows, capacities, cloning and saving leave no trace in any output,
 * because the live slots of a group are always in the one canonical order.
 * A stored 0.0 is a connection: only the structure says what is connected.
 *
 * Invariants, verified one by one by rw_store_check():
 *   I1   sizes: 1 <= n_out, n_in <= RW_MAX_WIDTH; group is 1, 2, 4 or 8;
 *        n_groups = ceil(n_out / group);
 *   I2   0 <= len <= cap <= n_in for every group;
 *   I3   0 <= start and start + cap <= top <= arena; a group with cap 0 has start 0;
 *   I4   no two windows, live or free, overlap;
 *   I5   the sources of a group ascend strictly (so none comes twice);
 *   I6   every source lies in [0, n_in);
 *   I7   slots is the sum of all len;
 *   I8   every pool list is acyclic, holds windows of its own size class, and
 *        the windows of groups and pool cover [0, top) up to `lost` slots;
 *   I9   field 0 is "weight"; names are unique; every field has an array;
 *   I10  weights of rows beyond n_out (in the last group) are zero;
 *   I11  a valid mirror names every live slot exactly once, by source, groups ascending;
 *        the windows of its sources do not overlap;
 *   I12  `digest` is the sum of the hashes of all live slots (digest.h).
 *
 * Cost (k slots edited): k * (log n for finding + length of the groups touched);
 * a rewiring of the whole layer is one pass over its slots. Memory: 4 bytes
 * for the source + group * sizeof(weight) + the fields, times at most 17/16 and
 * a slot a group, + 16 bytes a group; with the mirror 8 bytes a slot, times 65/64, and
 * 12 bytes a source more. So it is after every repacking, whether the layer grew or shrank; smaller
 * edits leave up to a tenth of waste and an eighth of reserve.
 *
 * Ownership: the store owns its arrays. A pointer taken from it is borrowed and
 * dies at the next edit. rw_store_pin() says that somebody borrows: until
 * unpinned, every edit is refused with RW_EPINNED.
 * Threads: any number of readers, or one writer. The store takes no locks. */
#ifndef RW_STORE_H
#define RW_STORE_H

#include "base/base.h"

enum {
    RW_MAX_FIELDS = 12,
    RW_NAME_BYTES = 24,    /* a field's name and its final 0            */
    RW_POOL_CLASSES = 33,  /* class c: free windows of 2^c .. 2^(c+1)-1 */
    RW_POOL_SMALLEST = 4,  /* slots a free window needs to be listed    */
    RW_WEIGHT = 0,         /* the field that is always there            */
    RW_MAX_WIDTH = 0x7ffffff0, /* of n_out and n_in: room to round up to whole groups */

    /* Bounds of memory, as promised above: parts of a layer's slots.             */
    RW_SLACK_PART = 16,    /* free in packed windows, and one slot of each      */
    RW_WASTE_PART = 10,    /* in free windows, from which on all is written anew */
    RW_RESERVE_PART = 8    /* beyond what an edit asked for, so that many small edits copy little */
};

typedef struct {
    char name[RW_NAME_BYTES];
    rw_dtype dtype;
    int32_t width;  /* values a slot: `group`, or 1                      */
    double birth;   /* what a new slot holds                             */
    int64_t room;   /* slots that have memory: >= arena                  */
    char *data;     /* room * width values                               */
} rw_field;

/* Bytes of one slot's values. */
static inline size_t rw_slot_bytes(const rw_field *f)
{
    return rw_dtype_size(f->dtype) * (size_t)f->width;
}

/* Fan-out mirror: for every source the groups that have a link from it, ascending,
 * and the slot's position in each. Derived; rebuilt when asked for, see mirror.h. */
typedef struct {
    int64_t *start;     /* n_in + 1: where the window of each source begins; the last: `room` */
    int32_t *len;       /* n_in: entries of each source                   */
    int32_t *group;     /* room                                           */
    int32_t *position;  /* room: the slot is start[group] + position      */
    int64_t room;       /* entries the two arrays have memory for         */
    bool valid;         /* false after an edit that did not carry it along */
} rw_mirror;

typedef struct {
    int32_t n_out, n_in;
    int32_t group;      /* rows that share a source list                  */
    int32_t n_groups;   /* ceil(n_out / group)                            */
    int64_t slots;      /* live slots: sum of len                         */

    int64_t *start;     /* n_groups: first slot of the window             */
    int32_t *len;       /* n_groups: live slots                           */
    int32_t *cap;       /* n_groups: slots of the window                  */

    int32_t *source;    /* source_room, of which arena are in use          */
    int64_t source_room;
    rw_field field[RW_MAX_FIELDS];
    int32_t n_fields;   /* >= 1                                           */

    int64_t arena;      /* slots that have memory in every array          */
    int64_t top;        /* slots handed out: windows lie in [0, top)      */
    int64_t lost;       /* slots below top in free windows too small to list */
    int64_t pooled;     /* slots below top in listed free windows         */
    int64_t pool[RW_POOL_CLASSES]; /* first free window of a class, or -1 */

    rw_mirror mirror;
    uint64_t generation; /* grows with every change of structure          */
    uint64_t digest;     /* of the structure: digest.h                    */
    int32_t pins;
} rw_store;

/* An empty layer. `weights` is RW_F32 or RW_F64. NULL when there is no memory
 * or a size breaks I1. */
rw_store *rw_store_new(int64_t n_out, int64_t n_in, int32_t group, rw_dtype weights);
void rw_store_free(rw_store *s);
/* Give the memory of the mirror back: it is derived from the rows. */
void rw_store_drop_mirror(rw_store *s);

/* An equal store, packed tight (the copy's windows need not lie as the
 * original's do). NULL when there is no memory. */
rw_store *rw_store_clone(const rw_store *s);

/* Make s equal to `then`, which was cloned from it earlier and can only be freed afterwards.
 * Needs no memory. If neither the structure nor the fields have changed since, values are
 * copied into the arrays of s, and views see them; else the arrays are swapped, which is
 * refused with RW_EPINNED while the store is pinned. RW_ESHAPE if the sizes differ. A refused
 * call changes nothing. */
rw_status rw_store_revert(rw_store *s, rw_store *then);

/* Bytes the store holds, mirror included. */
size_t rw_store_bytes(const rw_store *s);

/* Connections: `group` a slot, but only the rows that exist in the last group. */
int64_t rw_store_nnz(const rw_store *s);

/* Places: pairs of a group and a source, each empty or filled by a slot. */
static inline int64_t rw_store_places(const rw_store *s)
{
    return (int64_t)s->n_groups * s->n_in;
}

/* Rows of all groups: n_out, and those that complete the last group. */
static inline int64_t rw_store_rows(const rw_store *s)
{
    return (int64_t)s->n_groups * s->group;
}

/* `slots` and the slack that packed windows have beside one slot of each. */
static inline int64_t rw_with_slack(int64_t slots)
{
    return slots + slots / RW_SLACK_PART;
}

/* The most slots that a layer of so many live slots takes after a repacking. */
static inline int64_t rw_packed_slots(int64_t slots, int64_t n_groups)
{
    return rw_with_slack(slots) + n_groups;
}

/* Rows of group g: `group`, or fewer in the last. */
static inline int32_t rw_group_rows(const rw_store *s, int32_t g)
{
    RW_ASSERT(g >= 0 && g < s->n_groups);
    int32_t left = s->n_out - g * s->group;
    return left < s->group ? left : s->group;
}

/* What callers see to: is there such a group, such a field? */
static inline bool rw_has_group(const rw_store *s, int32_t g) { return g >= 0 && g < s->n_groups; }
static inline bool rw_has_field(const rw_store *s, int32_t f) { return f >= 0 && f < s->n_fields; }

/* How many of n ascending values are at most v. No branch depends on the values:
 * where they are random, a mispredicted one costs more than all the steps. */
static inline int32_t rw_count_up_to(const int32_t *value, int32_t n, int32_t v)
{
    RW_ASSERT(n >= 0);
    const int32_t *from = value;
    size_t left = (size_t)n;
    for (; left > 1; left -= left / 2) /* a mask: compilers make a jump of a choice */
        from += (left / 2) & (0 - (size_t)(from[left / 2 - 1] <= v));
    return (int32_t)(from - value) + (left == 1 && *from <= v);
}

/* Position of `source` in group g, or -1 - the position where it belongs. */
int32_t rw_group_find(const rw_store *s, int32_t g, int32_t source);

/* Register a field of `width` (1 or group) values a slot; every slot gets
 * `birth`. RW_EEXIST if the name is taken, RW_ESHAPE for a bad name, width or
 * dtype or when RW_MAX_FIELDS are taken, RW_EPINNED, RW_ENOMEM. */
rw_status rw_store_add_field(rw_store *s, const char *name, rw_dtype dtype, int32_t width,
                             double birth);
/* Forget a field. RW_ENOENT; RW_ESHAPE for "weight"; RW_EPINNED. */
rw_status rw_store_drop_field(rw_store *s, const char *name);
/* The index of a field, or -1. */
int32_t rw_store_field(const rw_store *s, const char *name);
/* Write the field's birth value into `n` slots from `slot` on. */
void rw_field_bear(const rw_field *f, int64_t slot, int64_t n);

/* Rows beyond n_out have no weights: those of `len` slots from `slot` on, of
 * group g, become zero. */
void rw_weights_clip(rw_store *s, int32_t g, int64_t slot, int32_t len);

/* Views: see "Ownership" above. */
void rw_store_pin(rw_store *s);
void rw_store_unpin(rw_store *s);

/* All windows packed in the order of the groups, free windows gone, arena cut
 * to size. RW_ENOMEM and RW_EPINNED leave the store as it was. */
rw_status rw_store_compact(rw_store *s);

/* Every invariant above; *why names the first that is broken. Where windows do not lie
 * in the order of the groups I4 needs O(n_groups) memory: RW_ENOMEM if there is none. Else
 * RW_OK or RW_ECORRUPT. */
rw_status rw_store_check(const rw_store *s, const char **why);

/* --- for edit.c and compaction; nobody else hands out slots ------------- */

/* Slots a packed window of `len` live slots gets: its slack is len / RW_SLACK_PART + 1. */
int32_t rw_window_room(const rw_store *s, int32_t len);
/* Memory for at least `slots` slots in every array. RW_ENOMEM: unchanged in content. */
rw_status rw_arena_reserve(rw_store *s, int64_t slots);
/* Give back what lies behind `slots` slots, where that takes no memory. Windows
 * must lie before it. Cannot fail. */
void rw_arena_trim(rw_store *s, int64_t slots);
/* A packed window behind all others for `len` slots of group g, which has none yet; there must be
 * memory for it. */
void rw_window_append(rw_store *s, int32_t g, int32_t len);
/* Take a window of at least `need` slots from the pool or from the top (which
 * must have been reserved); *cap is what it holds. */
int64_t rw_window_take(rw_store *s, int32_t need, int32_t *cap);
/* Give a window back to the pool. */
void rw_window_give(rw_store *s, int64_t start, int64_t cap);
/* Forget all free windows (before a repacking hands everything out afresh). */
void rw_pool_reset(rw_store *s);

/* --- for whoever fills an empty store at once ------------------------------ */

/* Packed windows for indptr[g + 1] - indptr[g] slots of each group, whose sources, fields and
 * digest are to be written next. RW_ENOMEM leaves the store as it was. */
rw_status rw_windows_lay(rw_store *s, const int64_t *indptr);
/* The same for groups whose `len` is written already: after RW_ENOMEM the store can only be freed. */
rw_status rw_windows_lay_lengths(rw_store *s);

#endif
