/* moments.h -- means and deviations of columns of numbers, and what standardises them.
 *
 * All numbers are float64. A column's sum adds its rows in ascending order. Where two sets are
 * merged nothing overflows or vanishes: a column that is far from 1 is brought near it by a power
 * of two, which is exact, and all others keep their bits. */
#ifndef RW_MOMENTS_H
#define RW_MOMENTS_H

#include "base/base.h"

/* Numbers within 2^-RW_SAFE and 2^RW_SAFE can be squared, weighted and summed as they are. */
enum { RW_SAFE = 200 };

/* The largest magnitude of n numbers, of float or double; infinity if one of them is not finite. */
double rw_largest(const void *x, int64_t n, rw_dtype dtype);

/* What becomes known of n columns of numbers: n values each. */
typedef struct {
    double *stored;         /* how many are there */
    double *mean, *squares; /* the sum of squared deviations from the mean */
    double *low, *high;     /* the least and the largest value */
} rw_column_sums;

/* Of a block of at least one row. Far from 1 squares may overflow or vanish. */
void rw_sum_columns(const double *x, int64_t rows, int64_t n, const rw_column_sums *to);

/* The same of `entries` of so many rows, no column twice in a row; what is not there is 0. Entries
 * are added in their order. False, and the sums mean nothing, if a column is not in [0, n): each is
 * looked at whenever it is used, since whoever lent `column` may write to it in another thread. */
bool rw_sum_entries(const int32_t *column, const double *value, int64_t entries, int64_t rows,
                    int64_t n, const rw_column_sums *to);

/* From sums over so many rows of the weight `total`. A column has not varied, and its deviation is 0,
 * if that is within the bound of scikit-learn's StandardScaler: variance <= rounding * variance +
 * (rounding * mean)^2. Whether all have varied. */
bool rw_deviations(int64_t n, double total, double rounding, const double *mean,
                   const double *squares, double *deviation);

/* Mean, deviation (in the place of the squares) and ends of a block; of a column that has not varied, see
 * `rw_deviations`, the mean is its first value, which has no rounding of a sum. False, and they mean
 * nothing, if some column is so far from 1 that a sum of squares is not within [least, most]. */
bool rw_block_moments(const double *x, int64_t rows, int64_t n, double rounding, double least,
                      double most, const rw_column_sums *to);

/* The part that `more` has of two weights together, whose sum may be out of range. */
double rw_weight_share(double total, double more);

/* Mean and deviation become those of both sets, as in Chan, Golub, LeVeque (1983); `more` has this
 * fraction of the weight. Two columns that have not varied are equal if their means differ by no
 * more than `rounding` times the first. */
void rw_merge_moments(int64_t n, double fraction, double rounding, double *mean,
                      double *deviation, const double *more_mean, const double *more_deviation);

/* Of the columns that a standardiser has seen: what it subtracts, and what is known of them. */
typedef struct {
    const double *center, *mean, *deviation, *low, *high;
} rw_seen_columns;

/* A column's scale is 1 / its width: the deviation, or a part `1 / farthest` of the largest distance
 * from the center if that is more. Of one that has not varied the width is 1, or what is more of
 * `rounding` times the mean and that distance. `reach` becomes the largest |center * scale|, and
 * `steepest` the largest scale. */
void rw_column_scales(int64_t n, double rounding, double farthest, const rw_seen_columns *seen,
                      double *scale, double *reach, double *steepest);

/* Standardised inputs of before are `now * gain + offset`: `before` and `after` know how, after so
 * many rows. The gain is within [least, most], 1 for a column that has never varied, and `fresh`
 * for one that varies for the first time: what is behind it has learnt nothing. */
typedef struct {
    const double *mean, *scale, *deviation;
} rw_units;

void rw_change_units(int64_t n, double least, double most, double fresh, const rw_units *before,
                     const rw_units *after, double *gain, double *offset);

#endif
