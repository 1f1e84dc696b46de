/* grow_gradient.h -- new links where the gradient is largest, without an n_out x n_in buffer.
 *
 * Every place has a gradient, whether anything is connected there or not (gradient_rows.h).
 * Groups are visited one after another: all n_in gradients of some groups are made and
 * offered to a selection of the top `count` (topk.h). Where a large part of the candidates
 * is wanted, all are noted instead, and the top `count` chosen as links that go
 * are (prune.h): the same ones. So the result is exact, costs n_out * n_in * batch
 * multiply-adds (in a selection a sixteenth more to guess where it will end, and as many
 * again where the guess was bad), and takes O(count + n_in) memory of every thread, and
 * the layer's inputs once more. */
#ifndef RW_GROW_GRADIENT_H
#define RW_GROW_GRADIENT_H

#include "store/plan.h"
#include "ops/layer.h"
#include "ops/nonzeros.h"

/* Add insertions to a plan that has none: the `count` empty places of largest
 * |gradient|, ties by a hash of (key, group, source). With `returns` the places that the
 * plan empties compete too. x, dy: as for rw_backward_weights. RW_EFULL when
 * there are fewer empty places; RW_ESHAPE. Inputs are x, or `few` (nonzeros.h) where x is NULL, whose
 * lists cost n_out * (values + n_in). */
rw_status rw_plan_grow_gradient(rw_plan *p, int64_t count, const rw_kernels *k, const rw_tiles *x,
                                const rw_nonzeros *few, const rw_tiles *dy, bool returns,
                                rw_key key, const rw_run *run);

/* The same for every group by itself: each[g] places of group g. */
rw_status rw_plan_grow_gradient_each(rw_plan *p, const int32_t *each, const rw_kernels *k,
                                     const rw_tiles *x, const rw_nonzeros *few,
                                     const rw_tiles *dy, bool returns, rw_key key,
                                     const rw_run *run);

#endif
