/* panels.h -- cutting a layer's sources, so that what is read again and again is near.
 *
 * A row that meets all of a wide layer's activations finds few of them in the
 * cache. So a block of groups goes through the sources panel by panel: first
 * every group's slots in the first panel, then every group's in the second. A
 * cursor for each group (rw_panel.at) remembers where its row stopped; since
 * rows are sorted, terms are added in the same order as in one go. */
#ifndef RW_PANELS_H
#define RW_PANELS_H

#include "kernels/kernels.h"

/* How a layer meets its sources: in panels that take about `slots` of each row,
 * or in one go (slots = 0), fetching ahead where the activations are far. */
typedef struct {
    int32_t panels, slots;
    bool far;
} rw_cut;

/* Groups that go through panels together, at most, and of a task: their cursors and where their
 * gradients go are kept on the stack. A bound: 12 KB. */
enum { RW_TASK_GROUPS = 1024 };

/* For activations of `bytes` a source. Panels grow where rows are so short that
 * they would pay no more. */
static inline rw_cut rw_cut_sources(const rw_store *s, int64_t bytes, const rw_tuning *t,
                                    const rw_panel_rule *rule)
{
    int64_t all = s->n_in * bytes, row = s->slots / s->n_groups;
    int64_t panels = rw_min64((all + rule->bytes - 1) / rule->bytes, row / rule->slots);
    if (panels > 1 && s->group <= rule->group && bytes >= t->panel_line
        && all / panels <= t->panel_most)
        return (rw_cut){ (int32_t)panels, (int32_t)(row / panels), false };
    return (rw_cut){ 1, 0, all > t->near };
}

/* Where panel i of n over sources [j0, j1) ends. The last one takes every slot. */
static inline int32_t rw_panel_end(int32_t j0, int32_t j1, int32_t i, int32_t n)
{
    return (int32_t)(j0 + (int64_t)(j1 - j0) * (i + 1) / n);
}

/* Groups that should go through panels together. */
static inline int64_t rw_panel_groups(const rw_store *s, const rw_tuning *t)
{
    int64_t row = rw_max64(1, s->slots / s->n_groups);
    return rw_max64(1, rw_min64(t->panel_reuse * s->n_in / row, RW_TASK_GROUPS));
}

/* The first of `n` ascending sources that is not below j. A row of at most `counted` is
 * counted through: no branch to guess. */
static inline int32_t rw_lower_bound(const int32_t *source, int32_t n, int32_t j, int32_t counted)
{
    int32_t low = 0;
    if (n <= counted) {
        for (int32_t i = 0; i < n; i++)
            low += source[i] < j;
        return low;
    }
    while (n > 0) {
        int32_t half = n / 2;
        if (source[low + half] < j) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

#endif
