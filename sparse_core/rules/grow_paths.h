/* grow_paths.h -- new links where many short paths already lead: Cannistraci-Hebb link prediction.
 *
 * A layer is a bipartite graph of groups and sources. An empty place (u, v) is joined by
 * the paths of three links
 *
 *      group u -- source a -- group b -- source v
 *
 * whose inner nodes, all a and b together, are the LOCAL COMMUNITY of the place. An
 * inner node has i INTERNAL links, to other inner nodes; one link to u or v; and e
 * EXTERNAL links, all others. The score of a place is a sum over its paths (Zhang et al.,
 * "Epitopological learning and Cannistraci-Hebb network shape intelligence brain-inspired
 * theory for ultra-sparse advantage in deep learning", ICLR 2024):
 *
 *      CH3-L3p:  1 / sqrt((1 + e_a) (1 + e_b))
 *      CH2-L3p:  sqrt((1 + i_a) (1 + i_b)) / sqrt((1 + e_a) (1 + e_b))
 *
 * WHY NO TABLE of all nodes by all nodes, as in the authors' code? Node a's internal
 * links lead to the neighbours that it shares with v: there are i(a, v) of them, whatever u is.
 * Likewise i(b, u). So with f(i, degree) for what a node contributes,
 *
 *      score(u, v) = sum over a of f(i(a, v), degree a) * sum over b of f(i(b, u), degree b),
 *
 * and the paths u - a - b - v of one u and one a count i(a, v) and make the inner
 * sum, for all v in one go. Groups are visited one after another, each with its row of
 * n_in scores, which are offered to a selection of the top k (topk.h).
 *
 * Cost: two additions for every path of three links, links * fan-in * fan-out of
 * them in a random layer, and links * n_in operations at most. Memory: 8 bytes a link;
 * of every thread 24 bytes a source, 4 a group, and the selection.
 * Sums are made in double precision, over b and then over a, both ascending: the same
 * bits for any number of threads. */
#ifndef RW_GROW_PATHS_H
#define RW_GROW_PATHS_H

#include "store/plan.h"

typedef enum { RW_CH2 = 2, RW_CH3 = 3 } rw_path_score;

/* Add insertions to a plan that has none: the `count` empty places of highest score in
 * the graph that the plan's removals leave. Places that the plan empties compete. With
 * `sample` they are drawn without replacement, each time with a chance in
 * proportion to the score: the highest score / E, E exponential and keyed by (key,
 * group, source). Places on no path come last, at random; ties are broken
 * by a hash of (key, group, source). RW_EFULL when there are fewer empty places;
 * RW_ESHAPE. */
rw_status rw_plan_grow_paths(rw_plan *p, int64_t count, rw_path_score score, bool sample,
                             rw_key key, const rw_run *run);

#endif
