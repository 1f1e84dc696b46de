/* shift.c -- small edits, where the slots lie and in the mirror. */
#include "store/shift.h"
#include "store/mirror.h"

#include <string.h>

void rw_group_copy(const rw_store *s, int32_t g, int64_t to)
{
    RW_ASSERT(rw_has_group(s, g));
    for (int32_t a = 0; a < rw_n_arrays(s) && s->len[g]; a++) {
        size_t bytes = rw_array_bytes(s, a);
        char *data = rw_array_data(s, a);
        memcpy(data + (size_t)to * bytes, data + (size_t)s->start[g] * bytes,
               (size_t)s->len[g] * bytes);
    }
}

/* `n` slots go: what lies between them moves together, front to back. */
static void close_gaps(const rw_store *s, int32_t g, const int32_t *goes, int32_t n)
{
    for (int32_t a = 0; a < rw_n_arrays(s) && n; a++) {
        size_t bytes = rw_array_bytes(s, a);
        char *row = rw_array_data(s, a) + (size_t)s->start[g] * bytes;
        char *to = row + (size_t)goes[0] * bytes;
        for (int32_t d = 0; d < n; d++) {
            int32_t from = goes[d] + 1, end = d + 1 < n ? goes[d + 1] : s->len[g];
            size_t between = (size_t)(end - from) * bytes;
            memmove(to, row + (size_t)from * bytes, between);
            to += between;
        }
    }
}

/* `n` new links among the `stay` slots that stay: what lies behind each moves up, back to front. */
static void open_gaps(rw_store *s, int32_t g, int32_t stay, const int32_t *comes, int32_t n,
                      const char *weight, char (*birth)[RW_WIDEST_SLOT])
{
    int32_t at[RW_EDIT_FEW];
    for (int32_t i = 0; i < n; i++)
        at[i] = rw_count_up_to(s->source + s->start[g], stay, comes[i]);
    for (int32_t a = 0; a < rw_n_arrays(s) && n; a++) {
        size_t bytes = rw_array_bytes(s, a);
        char *row = rw_array_data(s, a) + (size_t)s->start[g] * bytes;
        int32_t end = stay;
        for (int32_t i = n - 1; i >= 0; i--) {
            char *hole = row + (size_t)(at[i] + i) * bytes;
            memmove(hole + bytes, row + (size_t)at[i] * bytes, (size_t)(end - at[i]) * bytes);
            const void *born = a == 0 ? (const void *)&comes[i]
                             : a - 1 == RW_WEIGHT && weight
                                 ? (const void *)(weight + (size_t)i * bytes)
                             : (const void *)birth[a - 1];
            memcpy(hole, born, bytes);
            end = at[i];
        }
    }
    for (int32_t i = 0; i < n; i++)
        rw_weights_clip(s, g, s->start[g] + at[i] + i, 1);
}

void rw_group_shift(rw_store *s, const rw_plan *p, int32_t g, int64_t d, int64_t d_end, int64_t i,
                    int64_t i_end, char (*birth)[RW_WIDEST_SLOT])
{
    RW_ASSERT(d_end - d + i_end - i <= RW_EDIT_FEW);
    int32_t goes = (int32_t)(d_end - d), comes = (int32_t)(i_end - i), stay = s->len[g] - goes;
    size_t bytes = rw_slot_bytes(&s->field[RW_WEIGHT]);
    if (goes)
        close_gaps(s, g, p->del_position + d, goes);
    if (comes)
        open_gaps(s, g, stay, p->ins_source + i, comes,
                  p->ins_weight ? p->ins_weight + (size_t)i * bytes : NULL, birth);
    s->len[g] = stay + comes;
}

void rw_mirror_forget_removed(rw_store *s, const rw_plan *p)
{
    for (int64_t d = 0; d < p->n_del; d++) {
        int32_t g = p->del_group[d];
        rw_mirror_forget(s, g, s->source[s->start[g] + p->del_position[d]]);
    }
}

/* Both lists ascend; of each group the first removal and the first new link say where it has
 * begun to change. */
void rw_mirror_note_changes(rw_store *s, const rw_plan *p)
{
    for (int64_t d = 0, i = 0; d < p->n_del || i < p->n_ins;) {
        int32_t g = d < p->n_del ? p->del_group[d] : INT32_MAX;
        g = i < p->n_ins && p->ins_group[i] < g ? p->ins_group[i] : g;
        int32_t from = INT32_MAX, born = INT32_MAX;
        if (d < p->n_del && p->del_group[d] == g)
            from = p->del_position[d];
        if (i < p->n_ins && p->ins_group[i] == g)
            born = rw_group_find(s, g, p->ins_source[i]);
        rw_mirror_note(s, g, from < born ? from : born);
        while (d < p->n_del && p->del_group[d] == g)
            d++;
        while (i < p->n_ins && p->ins_group[i] == g)
            i++;
    }
}
