/* gradient_rows.h -- the gradients of all places of a layer, connected or not, some rows at a time.
 *
 * The gradient of place (i, j) is the sum over samples of dy[i] * x[j]. All of them are a
 * dense product: rows go past one after another, in memory that the caller has. A place of
 * a group is scored by the sum of |gradient| over its rows; what is not a finite number
 * counts as 0. */
#ifndef RW_GRADIENT_ROWS_H
#define RW_GRADIENT_ROWS_H

#include "base/par.h"
#include "kernels/kernels.h"
#include "ops/nonzeros.h"

typedef struct {
    const rw_kernels *k;
    const rw_tiles *x, *dy;
    const rw_nonzeros *few; /* or NULL: x is NULL then, or the tiles that it has */
    char *sums;             /* of dy, where few has a `zero`    */
    char *panels; /* x as rw_kernels.outer wants it, or NULL */
    int32_t n_panels;
    size_t panel_bytes; /* of one                                   */
    size_t pitch;       /* values from one row of gradients to the next */
    size_t row_bytes;   /* of a row of gradients                    */
} rw_gradient_rows;

/* x and dy must fit each other and stay as they are until the end; with `few` instead of x, lists are
 * gone through as they are, and no panel is made. After RW_ENOMEM and RW_EINTR there is nothing to
 * end. */
rw_status rw_gradient_rows_start(rw_gradient_rows *a, const rw_kernels *k, const rw_tiles *x,
                                 const rw_nonzeros *few, const rw_tiles *dy, const rw_run *run);
void rw_gradient_rows_end(rw_gradient_rows *a);

/* All gradients of some rows: `rows` times row_bytes. */
void rw_gradient_rows_make(const rw_gradient_rows *a, int32_t first_row, int32_t rows, char *grad);

/* Scores of n places, the first of which has its gradients at `grad` (of a group of `rows`
 * rows); `step` values lie between one place and the next. */
void rw_gradient_rows_score(const rw_gradient_rows *a, const char *grad, int32_t n, int32_t step,
                            int32_t rows, double *score);

/* Which of n adjacent places, at most RW_SCAN_VALUES, have a score of `threshold` or more.
 * Returns how many, and writes their indices to `high`; `score` is written at these
 * indices alone. */
int32_t rw_gradient_rows_at_least(const rw_gradient_rows *a, const char *grad, int32_t n,
                                  int32_t rows, double threshold, double *score, int32_t *high);

#endif
