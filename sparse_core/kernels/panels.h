/* panels.h -- cutting a layer's sources into panels whose activations stay in the cache.
 *
 * A row that reads all of a wide layer's activations finds few of them in the
 * cache. So a block of groups goes through the sources panel by panel: first
 * every group's slots in the first panel, then every group's in the second. A
 * cursor for each group (rw_panel.at) remembers where its row stopped; since
 * rows are sorted, terms are added in the same order as in one go. */
#ifndef RW_PANELS_H
#define RW_PANELS_H

#include "kernels/kernels.h"

/* How a layer goes through its sources: in panels that take about `slots` of each row, and which are brought
 * near in the order of memory first where it `fills` them; or in one go (slots = 0), fetching ahead where the
 * activations are far. */
typedef struct {
    int32_t panels, slots;
    bool far, fills;
} rw_cut;

/* The most groups of a task. Their cursors and the offsets of their gradients are kept on the
 * stack. A bound: 12 KB. */
enum { RW_TASK_GROUPS = 1024 };

/* The cut for activations of `bytes` a source. Where rows are short, panels are larger, so
 * that a panel still takes rule->slots of each row. */
static inline rw_cut rw_cut_sources(const rw_store *s, int64_t bytes, const rw_tuning *t,
                                    const rw_panel_rule *rule)
{
    int64_t all = s->n_in * bytes, row = s->slots / s->n_groups;
    int64_t panels = rw_min64((all + rule->bytes - 1) / rule->bytes, row / rule->slots);
    bool gains = s->group <= rule->group || (all >= rule->wide && bytes >= rule->line);
    if (panels > 1 && gains && bytes >= t->panel_line
        && all / panels <= t->panel_most)
        return (rw_cut){ (int32_t)panels, (int32_t)(row / panels), false, false };
    return (rw_cut){ 1, 0, all > t->near, false };
}

/* The cut for strips with a rest behind the tile, of `bytes` a source each. A slot reads two places then, and
 * a single line from beyond a core's own caches costs as much as a row of four, which a processor fetches as
 * one. So panels are as large as the second-level cache keeps. With one panel it would not pay, nor do groups
 * of 2 and 4 gain before half as many inputs again: such a group needs few lines for its arithmetic. */
static inline rw_cut rw_cut_rest(const rw_store *s, int64_t bytes, const rw_tuning *t)
{
    int64_t all = 2 * bytes * s->n_in, keeps = rw_max64(1, t->near);
    int64_t row = s->slots / s->n_groups;
    int64_t panels = rw_min64((all + keeps - 1) / keeps, row / t->forward.slots);
    int64_t least = s->group == 2 || s->group == 4 ? t->stream + t->stream / 2 : t->stream;
    if (panels > 1 && s->n_in * bytes >= least && all / panels <= t->panel_most)
        return (rw_cut){ (int32_t)panels, (int32_t)(row / panels), false, true };
    return (rw_cut){ 1, 0, all > t->near, false };
}

/* Where panel i of n over sources [j0, j1) ends. */
static inline int32_t rw_panel_end(int32_t j0, int32_t j1, int32_t i, int32_t n)
{
    return (int32_t)(j0 + (int64_t)(j1 - j0) * (i + 1) / n);
}

/* Where panel i of n over sources [j0, j1) begins. */
static inline int32_t rw_panel_begin(int32_t j0, int32_t j1, int32_t i, int32_t n)
{
    return i ? rw_panel_end(j0, j1, i - 1, n) : j0;
}

/* Are a batch's activations, of `line` bytes a source, read in the order of memory before slots jump
 * among them? */
static inline bool rw_streams(const rw_store *s, int64_t line, const rw_tuning *t)
{
    return line >= t->stream_line && s->n_in * line >= t->stream
        && s->slots * s->group >= t->stream_links * s->n_in;
}

/* How many groups should share a pass over the panels, which are read whole where it `streams`. */
static inline int64_t rw_panel_groups(const rw_store *s, const rw_tuning *t, bool streams)
{
    int64_t row = rw_max64(1, s->slots / s->n_groups), reuse = streams ? t->stream_reuse : t->panel_reuse;
    return rw_max64(1, rw_min64(reuse * s->n_in / row, RW_TASK_GROUPS));
}

/* The index of the first of `n` ascending sources that is not below j. In a row of at most
 * `counted`, the sources below j are counted, which takes no branch that depends on them. */
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
