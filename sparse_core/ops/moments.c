/* moments.c -- columns of numbers: summed, merged, and scaled. */
#include "ops/moments.h"

#include <float.h>
#include <math.h>
#include <string.h>

static double lesser(double a, double b) { return a < b ? a : b; }
static double greater(double a, double b) { return a > b ? a : b; }

/* Magnitudes ascend with their bits, as integers without the sign, up to infinity and then what is no
 * number. Maxima of integers may be taken in any order: lanes make vectors of what would be a chain. */
enum { TOP_LANES = 16 };

#define LARGEST(name, T, BITS, MAGNITUDE)                              \
    static double name(const T *x, int64_t n)                          \
    {                                                                  \
        BITS top[TOP_LANES] = {0}, bits;                               \
        int64_t whole = n - n % TOP_LANES;                             \
        for (int64_t i = 0; i < whole; i += TOP_LANES)                 \
            for (int k = 0; k < TOP_LANES; k++) {                      \
                memcpy(&bits, x + i + k, sizeof bits);                 \
                bits &= MAGNITUDE;                                     \
                top[k] = bits > top[k] ? bits : top[k];                \
            }                                                          \
        for (int64_t i = whole; i < n; i++) {                          \
            memcpy(&bits, x + i, sizeof bits);                         \
            bits &= MAGNITUDE;                                         \
            top[0] = bits > top[0] ? bits : top[0];                    \
        }                                                              \
        for (int k = 1; k < TOP_LANES; k++)                            \
            top[0] = top[k] > top[0] ? top[k] : top[0];                \
        T largest;                                                     \
        memcpy(&largest, top, sizeof largest);                         \
        return isfinite(largest) ? (double)largest : (double)INFINITY; \
    }
LARGEST(largest_f32, float, int32_t, INT32_MAX)
LARGEST(largest_f64, double, int64_t, INT64_MAX)

double rw_largest(const void *x, int64_t n, rw_dtype dtype)
{
    RW_ASSERT(dtype == RW_F32 || dtype == RW_F64);
    return dtype == RW_F32 ? largest_f32(x, n) : largest_f64(x, n);
}

void rw_sum_columns(const double *x, int64_t rows, int64_t n, const rw_column_sums *to)
{
    RW_ASSERT(rows > 0);
    size_t bytes = (size_t)n * sizeof *x;
    for (int64_t j = 0; j < n; j++)
        to->stored[j] = (double)rows;
    memset(to->mean, 0, bytes);
    memset(to->squares, 0, bytes);
    memcpy(to->low, x, bytes);
    memcpy(to->high, x, bytes);
    for (const double *row = x, *end = x + rows * n; row < end; row += n)
        for (int64_t j = 0; j < n; j++) {
            to->mean[j] += row[j];
            to->low[j] = lesser(to->low[j], row[j]);
            to->high[j] = greater(to->high[j], row[j]);
        }
    for (int64_t j = 0; j < n; j++)
        to->mean[j] /= (double)rows;
    for (const double *row = x, *end = x + rows * n; row < end; row += n)
        for (int64_t j = 0; j < n; j++) {
            double apart = row[j] - to->mean[j];
            to->squares[j] += apart * apart;
        }
}

bool rw_sum_entries(const int32_t *column, const double *value, int64_t entries, int64_t rows,
                    int64_t n, const rw_column_sums *to)
{
    RW_ASSERT(rows > 0);
    size_t bytes = (size_t)n * sizeof *value;
    memset(to->stored, 0, bytes);
    memset(to->mean, 0, bytes);
    memset(to->squares, 0, bytes);
    for (int64_t e = 0; e < entries; e++) {
        int32_t j = rw_read_int32(column + e);
        if (j < 0 || j >= n)
            return false;
        to->stored[j]++;
    }
    for (int64_t j = 0; j < n; j++) {
        bool full = to->stored[j] == (double)rows;
        to->low[j] = full ? INFINITY : 0;
        to->high[j] = full ? -INFINITY : 0;
    }
    for (int64_t e = 0; e < entries; e++) {
        int32_t j = rw_read_int32(column + e);
        if (j < 0 || j >= n)
            return false;
        to->mean[j] += value[e];
        to->low[j] = lesser(to->low[j], value[e]);
        to->high[j] = greater(to->high[j], value[e]);
    }
    for (int64_t j = 0; j < n; j++)
        to->mean[j] /= (double)rows;
    for (int64_t e = 0; e < entries; e++) {
        int32_t j = rw_read_int32(column + e);
        if (j < 0 || j >= n)
            return false;
        double apart = value[e] - to->mean[j];
        to->squares[j] += apart * apart;
    }
    for (int64_t j = 0; j < n; j++)
        to->squares[j] += ((double)rows - to->stored[j]) * (to->mean[j] * to->mean[j]);
    return true;
}

bool rw_deviations(int64_t n, double total, double rounding, const double *mean,
                   const double *squares, double *deviation)
{
    bool all = true;
    for (int64_t j = 0; j < n; j++) {
        double variance = squares[j] / total, noise = mean[j] * rounding;
        bool still = variance <= rounding * variance + noise * noise;
        deviation[j] = still ? 0 : sqrt(variance);
        all &= !still;
    }
    return all;
}

/* The exponent of 2 that brings a number of this magnitude near 1; 0 where it is near enough. */
static int level_of(double largest)
{
    int exponent = 0;
    if (isfinite(largest))
        frexp(largest, &exponent);
    return exponent > RW_SAFE || exponent < -RW_SAFE ? exponent : 0;
}

bool rw_block_moments(const double *x, int64_t rows, int64_t n, double rounding, double least,
                      double most, const rw_column_sums *to)
{
    rw_sum_columns(x, rows, n, to);
    for (int64_t j = 0; j < n; j++) {
        bool doubtful = !(to->squares[j] >= least && to->squares[j] <= most);
        if (doubtful && level_of(greater(fabs(to->low[j]), fabs(to->high[j]))))
            return false; /* else it never varies */
    }
    if (!rw_deviations(n, (double)rows, rounding, to->mean, to->squares, to->squares))
        for (int64_t j = 0; j < n; j++)
            if (to->squares[j] == 0)
                to->mean[j] = x[j] + 0.0; /* -0 is 0, as in a sum */
    return true;
}

double rw_weight_share(double total, double more)
{
    int level = level_of(greater(total, more));
    double part = ldexp(more, -level);
    return part / (ldexp(total, -level) + part);
}

void rw_merge_moments(int64_t n, double fraction, double rounding, double *mean,
                      double *deviation, const double *more_mean, const double *more_deviation)
{
    for (int64_t j = 0; j < n; j++) {
        double m = mean[j], d = deviation[j], m1 = more_mean[j], d1 = more_deviation[j];
        int level = level_of(greater(greater(fabs(m), fabs(m1)), greater(d, d1)));
        if (level) {
            m = ldexp(m, -level), d = ldexp(d, -level);
            m1 = ldexp(m1, -level), d1 = ldexp(d1, -level);
        }
        double apart = m1 - m;
        if (d == 0 && d1 == 0 && fabs(apart) <= rounding * fabs(m))
            apart = 0; /* the rounding of their sums */
        double variance = (1 - fraction) * d * d + fraction * d1 * d1 +
                          fraction * (1 - fraction) * apart * apart;
        mean[j] = ldexp(m + fraction * apart, level);
        deviation[j] = ldexp(sqrt(variance), level);
    }
}

/* How far a column's values are from the center, halved so that it is a number. */
static double half_distance(const rw_seen_columns *seen, int64_t j)
{
    double middle = seen->center[j] / 2;
    return greater(seen->high[j] / 2 - middle, middle - seen->low[j] / 2);
}

void rw_column_scales(int64_t n, double rounding, double farthest, const rw_seen_columns *seen,
                      double *scale, double *reach, double *steepest)
{
    *reach = *steepest = 0;
    for (int64_t j = 0; j < n; j++) {
        double far = half_distance(seen, j) * (2 / farthest), width = 0;
        if (seen->deviation[j] > 0)
            width = greater(greater(seen->deviation[j], far), DBL_MIN);
        else /* a row far away may have too small a weight to make a deviation */
            width = greater(greater(fabs(seen->mean[j]) * rounding, 1), far);
        scale[j] = 1 / width;
        *reach = greater(*reach, fabs(seen->center[j] * scale[j]));
        *steepest = greater(*steepest, scale[j]);
    }
}

void rw_change_units(int64_t n, double least, double most, double fresh, const rw_units *before,
                     const rw_units *after, double *gain, double *offset)
{
    for (int64_t j = 0; j < n; j++) {
        double by = lesser(greater(before->scale[j] / after->scale[j], least), most);
        if (before->deviation[j] == 0)
            by = after->deviation[j] > 0 ? fresh : 1;
        double quarter = after->mean[j] / 4 - before->mean[j] / 4; /* the difference may overflow */
        gain[j] = by;
        offset[j] = quarter * after->scale[j] * 4 * by;
    }
}
