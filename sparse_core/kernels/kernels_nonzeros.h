/* kernels_nonzeros.h -- products with inputs of which few are not zero (nonzeros.h).
 *
 * Part of kernels_element.h. A source with few values in a span is gone through value by value, one
 * with many as a row with its zeros. Both give the bits of the products in kernels_body.h, where
 * every zero takes part: a zero's term changes no sum. */

/* Values are multiplied one by one in the same way as in registers: fused where these are. */
#if RW_DTYPE_BITS == 32
#define RW_ONE_FMA f32x1_fma
#else
#define RW_ONE_FMA f64x1_fma
#endif

/* How many slots ahead of their use weights are asked for. */
#define RW_REACHED_AHEAD 16

/* Lanes of no register are more. */
#define RW_MOST_LANES 16

#define RW_REACHED RW_CAT(rw_reached, RW_F)

/* A source with more than one value: its row, or one value after another. */
RW_INLINE void RW_E(forward_source)(const rw_nonzero_span *x, int32_t source, const RW_T *weight,
                                    RW_T *sums, const int rows)
{
    const size_t samples = (size_t)x->samples;
    if (x->full[source] < 0) {
        const RW_T *value = x->value;
        for (int64_t e = x->first[source]; e < x->first[source + 1]; e++) {
            RW_T *sum = sums + x->sample[e], in = value[e];
            RW_UNROLL
            for (int r = 0; r < rows; r++)
                sum[(size_t)r * samples] = RW_ONE_FMA(weight[r], in, sum[(size_t)r * samples]);
        }
        return;
    }
    const RW_T *row = (const RW_T *)x->rows + (size_t)x->full[source] * samples;
    size_t c = 0;
    for (; c + RW_WIDE_LANES <= samples; c += RW_WIDE_LANES) {
        RW_WIDE in = RW_V(load)(row + c);
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            RW_T *sum = sums + (size_t)r * samples + c;
            RW_V(store)(sum, RW_V(fma)(RW_V(set1)(weight[r]), in, RW_V(load)(sum)));
        }
    }
    for (; c < samples; c++)
        for (int r = 0; r < rows; r++)
            sums[(size_t)r * samples + c] =
                RW_ONE_FMA(weight[r], row[c], sums[(size_t)r * samples + c]);
}

RW_INLINE void RW_E(nonzero_forward_rows)(const rw_nonzero_span *x, const RW_REACHED *at, int64_t n,
                                          const RW_T *w, RW_T *sums, const int rows)
{
    const size_t samples = (size_t)x->samples;
    for (int64_t i = 0; i < n; i++) {
        if (i + RW_REACHED_AHEAD < n)
            RW_PREFETCH(w + (size_t)at[i + RW_REACHED_AHEAD].slot * (size_t)rows);
        const RW_T *weight = w + (size_t)at[i].slot * (size_t)rows;
        if (at[i].sample < 0) {
            RW_E(forward_source)(x, -1 - at[i].sample, weight, sums, rows);
            continue;
        }
        RW_T *sum = sums + at[i].sample, in = at[i].value;
        RW_UNROLL
        for (int r = 0; r < rows; r++)
            sum[(size_t)r * samples] = RW_ONE_FMA(weight[r], in, sum[(size_t)r * samples]);
    }
}

RW_KERNEL void RW_E(nonzero_forward)(const rw_nonzero_span *x, const void *at, int64_t n,
                                     const void *w, int32_t group, void *sums)
{
    switch (group) {
    case 1: RW_E(nonzero_forward_rows)(x, at, n, w, sums, 1); break;
    case 2: RW_E(nonzero_forward_rows)(x, at, n, w, sums, 2); break;
    case 4: RW_E(nonzero_forward_rows)(x, at, n, w, sums, 4); break;
    default: RW_E(nonzero_forward_rows)(x, at, n, w, sums, 8); break;
    }
}

/* The sum of `lanes` sums, in halves. */
RW_INLINE RW_T RW_E(fold_lanes)(RW_T *sum, int32_t lanes)
{
    for (; lanes > 1; lanes /= 2)
        for (int32_t l = 0; l < lanes / 2; l++)
            sum[l] += sum[l + lanes / 2];
    return sum[0];
}

/* The gradient of one link whose source has a row of all samples. */
RW_INLINE RW_T RW_E(full_gradient)(const RW_T *row, const RW_T *dy, int32_t samples, int32_t lanes)
{
    if (lanes == RW_WIDE_LANES) {
        RW_WIDE acc = RW_V(zero)();
        for (int32_t c = 0; c < samples; c += RW_WIDE_LANES)
            acc = RW_V(fma)(RW_V(load)(row + c), RW_V(load)(dy + c), acc);
        return RW_V(sum)(acc);
    }
    RW_T sum[RW_MOST_LANES] = { 0 };
    for (int32_t b = 0; b < samples; b++)
        sum[b % lanes] = RW_ONE_FMA(row[b], dy[b], sum[b % lanes]);
    return RW_E(fold_lanes)(sum, lanes);
}

/* The same from n >= 2 values. Of two values the other lanes need not be added: they are 0. */
RW_INLINE RW_T RW_E(few_gradient)(const RW_T *value, const int32_t *sample, int64_t n,
                                  const RW_T *dy, int32_t lanes)
{
    RW_T first = RW_ONE_FMA(value[0], dy[sample[0]], 0);
    if (n == 2) {
        bool same = ((sample[0] ^ sample[1]) & (lanes - 1)) == 0;
        RW_T second = RW_ONE_FMA(value[1], dy[sample[1]], same ? first : 0);
        return same ? second : first + second;
    }
    RW_T sum[RW_MOST_LANES] = { 0 };
    for (int64_t e = 0; e < n; e++) {
        int32_t l = sample[e] & (lanes - 1);
        sum[l] = RW_ONE_FMA(value[e], dy[sample[e]], sum[l]);
    }
    return RW_E(fold_lanes)(sum, lanes);
}

RW_INLINE void RW_E(nonzero_dw_rows)(const rw_nonzero_span *x, const RW_REACHED *at, int64_t n,
                                     const RW_T *dy, RW_T *grad, const int rows)
{
    const RW_T *value = x->value, *full = x->rows;
    const size_t samples = (size_t)x->samples;
    for (int64_t i = 0; i < n; i++) {
        RW_T *out = grad + (size_t)at[i].slot * (size_t)rows;
        if (at[i].sample >= 0) {
            RW_UNROLL
            for (int r = 0; r < rows; r++)
                out[r] += RW_ONE_FMA(at[i].value, dy[(size_t)r * samples + (size_t)at[i].sample], 0);
            continue;
        }
        int32_t source = -1 - at[i].sample;
        int64_t e = x->first[source], many = x->first[source + 1] - e;
        for (int r = 0; r < rows; r++) {
            const RW_T *outs = dy + (size_t)r * samples;
            if (x->full[source] < 0)
                out[r] += RW_E(few_gradient)(value + e, x->sample + e, many, outs, x->lanes);
            else
                out[r] += RW_E(full_gradient)(full + (size_t)x->full[source] * samples, outs,
                                              x->samples, x->lanes);
        }
    }
}

RW_KERNEL void RW_E(nonzero_dw)(const rw_nonzero_span *x, const void *at, int64_t n, const void *dy,
                                int32_t group, void *grad)
{
    switch (group) {
    case 1: RW_E(nonzero_dw_rows)(x, at, n, dy, grad, 1); break;
    case 2: RW_E(nonzero_dw_rows)(x, at, n, dy, grad, 2); break;
    case 4: RW_E(nonzero_dw_rows)(x, at, n, dy, grad, 4); break;
    default: RW_E(nonzero_dw_rows)(x, at, n, dy, grad, 8); break;
    }
}

/* Sample by sample in one sum, as `outer` adds: spans come in order, and grad holds those before. */
RW_KERNEL void RW_E(nonzero_outer)(const rw_nonzero_span *x, const int32_t *sources, int32_t n,
                                   const void *outs, void *out)
{
    const RW_T *value = x->value, *full = x->rows, *dy = outs;
    RW_T *grad = out;
    for (int32_t i = 0; i < n; i++) {
        RW_T sum = grad[sources[i]];
        if (x->full[i] >= 0) {
            const RW_T *row = full + (size_t)x->full[i] * (size_t)x->samples;
            for (int32_t b = 0; b < x->samples; b++)
                sum = RW_ONE_FMA(dy[b], row[b], sum);
        } else {
            for (int64_t e = x->first[i]; e < x->first[i + 1]; e++)
                sum = RW_ONE_FMA(dy[x->sample[e]], value[e], sum);
        }
        grad[sources[i]] = sum;
    }
}

#undef RW_ONE_FMA
#undef RW_REACHED
#undef RW_REACHED_AHEAD
#undef RW_MOST_LANES
