/* kernels_norm.h -- normalisation over the values of a sample, and over the samples of a row.
 *
 * Included by kernels_element.h. Sums over rows are made for all samples of a tile side by
 * side, RW_NORM_ROWS rows at a time; sums over samples have RW_ROW_LANES lanes. Both orders are
 * contract (order.h), so a result is the same for any threads and every instruction set. */

/* Samples that the sums over rows are made for at a time: a bound of the stack. */
#define RW_NORM_SAMPLES 64

/* The sum over rows, for `width` samples. */
RW_INLINE void RW_E(rows_sum)(const RW_T *x, int32_t n, int32_t tile, int32_t width, RW_T *sums)
{
    RW_T part[RW_NORM_SAMPLES];
    for (int32_t b = 0; b < width; b++)
        sums[b] = 0;
    for (int32_t first = 0; first < n; first += RW_NORM_ROWS) {
        int32_t end = first + RW_NORM_ROWS < n ? first + RW_NORM_ROWS : n;
        for (int32_t b = 0; b < width; b++)
            part[b] = 0;
        for (int32_t i = first; i < end; i++, x += tile)
            for (int32_t b = 0; b < width; b++)
                part[b] += x[b];
        for (int32_t b = 0; b < width; b++)
            sums[b] += part[b];
    }
}

/* The sum over rows of (x - mean) squared. */
RW_INLINE void RW_E(rows_squares)(const RW_T *x, const RW_T *mean, int32_t n, int32_t tile,
                                  int32_t width, RW_T *sums)
{
    RW_T part[RW_NORM_SAMPLES];
    for (int32_t b = 0; b < width; b++)
        sums[b] = 0;
    for (int32_t first = 0; first < n; first += RW_NORM_ROWS) {
        int32_t end = first + RW_NORM_ROWS < n ? first + RW_NORM_ROWS : n;
        for (int32_t b = 0; b < width; b++)
            part[b] = 0;
        for (int32_t i = first; i < end; i++, x += tile)
            for (int32_t b = 0; b < width; b++) {
                RW_T far = x[b] - mean[b];
                part[b] += far * far;
            }
        for (int32_t b = 0; b < width; b++)
            sums[b] += part[b];
    }
}

RW_KERNEL void RW_E(layer_norm)(const void *from, const void *gains, const void *shifts, double eps,
                                bool centered, void *normal, void *inverses, void *to, int32_t n,
                                int32_t tile, int32_t live)
{
    const RW_T *gain = gains, *shift = shifts;
    RW_T mean[RW_NORM_SAMPLES], squares[RW_NORM_SAMPLES];
    for (int32_t first = 0; first < tile; first += RW_NORM_SAMPLES) {
        int32_t width = tile - first < RW_NORM_SAMPLES ? tile - first : RW_NORM_SAMPLES;
        const RW_T *x = (const RW_T *)from + first;
        RW_T *z = (RW_T *)normal + first, *y = (RW_T *)to + first;
        RW_T *inverse = (RW_T *)inverses + first;
        RW_E(rows_sum)(x, n, tile, width, mean);
        for (int32_t b = 0; b < width; b++)
            mean[b] = centered ? mean[b] / (RW_T)n : 0;
        RW_E(rows_squares)(x, mean, n, tile, width, squares);
        for (int32_t b = 0; b < width; b++)
            inverse[b] = (RW_T)(1 / sqrt((double)squares[b] / n + eps));
        for (int32_t i = 0; i < n; i++, x += tile, z += tile, y += tile) {
            RW_IVDEP
            for (int32_t b = 0; b < width; b++) {
                z[b] = (x[b] - mean[b]) * inverse[b];
                y[b] = gain[i] * z[b] + shift[i];
            }
        }
    }
    RW_E(clear_tail)(normal, n, tile, live);
    RW_E(clear_tail)(to, n, tile, live);
}

RW_KERNEL void RW_E(layer_norm_back)(const void *normal, const void *inverses, const void *gains,
                                     bool centered, const void *given, void *to, int32_t n,
                                     int32_t tile)
{
    const RW_T *gain = gains;
    RW_T mean[RW_NORM_SAMPLES], along[RW_NORM_SAMPLES];
    for (int32_t first = 0; first < tile; first += RW_NORM_SAMPLES) {
        int32_t width = tile - first < RW_NORM_SAMPLES ? tile - first : RW_NORM_SAMPLES;
        const RW_T *z = (const RW_T *)normal + first, *dy = (const RW_T *)given + first;
        const RW_T *inverse = (const RW_T *)inverses + first;
        RW_T *dx = (RW_T *)to + first;
        for (int32_t b = 0; b < width; b++)
            mean[b] = along[b] = 0;
        for (int32_t begin = 0; begin < n; begin += RW_NORM_ROWS) {
            int32_t end = begin + RW_NORM_ROWS < n ? begin + RW_NORM_ROWS : n;
            RW_T part[RW_NORM_SAMPLES], part_along[RW_NORM_SAMPLES];
            for (int32_t b = 0; b < width; b++)
                part[b] = part_along[b] = 0;
            for (int32_t i = begin; i < end; i++) {
                const RW_T *row = dy + (size_t)i * (size_t)tile, *at = z + (size_t)i * (size_t)tile;
                for (int32_t b = 0; b < width; b++) {
                    RW_T d = gain[i] * row[b];
                    part[b] += d;
                    part_along[b] += d * at[b];
                }
            }
            for (int32_t b = 0; b < width; b++) {
                mean[b] += part[b];
                along[b] += part_along[b];
            }
        }
        for (int32_t b = 0; b < width; b++) {
            mean[b] = centered ? mean[b] / (RW_T)n : 0;
            along[b] /= (RW_T)n;
        }
        for (int32_t i = 0; i < n; i++, z += tile, dy += tile, dx += tile) {
            RW_IVDEP
            for (int32_t b = 0; b < width; b++)
                dx[b] = (gain[i] * dy[b] - mean[b] - z[b] * along[b]) * inverse[b];
        }
    }
}

RW_KERNEL void RW_E(row_norm)(const void *from, const void *means, const void *inverses,
                              const void *gains, const void *shifts, void *normal, void *to,
                              int32_t n, int32_t tile, int32_t live)
{
    const RW_T *x = from, *mean = means, *inverse = inverses, *gain = gains, *shift = shifts;
    RW_T *z = normal, *y = to;
    for (int32_t i = 0; i < n; i++, x += tile, y += tile) {
        RW_IVDEP
        for (int32_t b = 0; b < tile; b++)
            y[b] = gain[i] * ((x[b] - mean[i]) * inverse[i]) + shift[i];
        if (z) {
            RW_IVDEP
            for (int32_t b = 0; b < tile; b++)
                z[b] = (x[b] - mean[i]) * inverse[i];
            z += tile;
        }
    }
    RW_E(clear_tail)(to, n, tile, live);
    if (normal)
        RW_E(clear_tail)(normal, n, tile, live);
}

RW_KERNEL void RW_E(row_norm_back)(const void *normal, const void *scales, const void *means,
                                   const void *alongs, const void *given, void *to, int32_t n,
                                   int32_t tile, int32_t live)
{
    const RW_T *z = normal, *scale = scales, *mean = means, *along = alongs, *dy = given;
    RW_T *dx = to;
    for (int32_t i = 0; i < n; i++, z += tile, dy += tile, dx += tile) {
        RW_IVDEP
        for (int32_t b = 0; b < tile; b++)
            dx[b] = scale[i] * (dy[b] - mean[i] - z[b] * along[i]);
    }
    RW_E(clear_tail)(to, n, tile, live);
}

RW_KERNEL void RW_E(row_dot)(const void *left, const void *left_means, const void *right,
                             const void *right_means, void *to, int32_t n, int32_t tile,
                             int32_t live, bool add)
{
    const RW_T *a = left, *a_means = left_means, *b = right, *b_means = right_means;
    RW_T *out = to;
    for (int32_t i = 0; i < n; i++, a += tile, b += tile) {
        RW_T a_mean = a_means ? a_means[i] : 0, b_mean = b_means ? b_means[i] : 0;
        RW_T sums[RW_ROW_LANES] = { 0 };
        int32_t s = 0;
        for (; s + RW_ROW_LANES <= live; s += RW_ROW_LANES)
            for (int l = 0; l < RW_ROW_LANES; l++)
                sums[l] += (a[s + l] - a_mean) * (b[s + l] - b_mean);
        for (int l = 0; s < live; s++, l++)
            sums[l] += (a[s] - a_mean) * (b[s] - b_mean);
        RW_T found = RW_E(fold)(sums);
        out[i] = add ? out[i] + found : found;
    }
}

#undef RW_NORM_SAMPLES
