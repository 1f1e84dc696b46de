/* kernels_loss.h -- losses on runs of values.
 *
 * Included by kernels_element.h, once for every precision, after kernels_exp.h. No operation here
 * is fused and no library is asked, so all instruction sets and machines give the same bits.
 *
 * A term of a loss is computed in the precision of the outputs, or in float64 where that is as
 * fast (MSE, Huber, squared hinge), and has no differences of numbers that lie close: it is good
 * to 8 eps of the sum of the magnitudes of what it adds, where eps is 2^-23 or 2^-52. Sums are in
 * float64. */

RW_INLINE double RW_E(loss_keep)(uint64_t mask, double a)
{
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits &= mask;
    memcpy(&a, &bits, sizeof bits);
    return a;
}

/* Each gives the loss of one output, and its derivative. */

/* With |z| and the distance u of the target from the side that z is on, nothing cancels. */
RW_INLINE RW_T RW_E(term_bce)(RW_T z, RW_T t, RW_T *slope)
{
    RW_BITS positive = z >= 0 ? ~(RW_BITS)0 : 0;
    RW_T size = RW_FABS(z), u = RW_E(pick)(positive, 1 - t, t);
    RW_T e = RW_E(exp)(-size, false, false); /* of NaN, the product with u is one */
    RW_T away = u - e / (1 + e);
    *slope = RW_E(pick)(positive, away, -away);
    return size * u + RW_E(log1p)(e);
}

RW_INLINE double RW_E(term_mse)(RW_T z, double t, double delta, double *slope)
{
    (void)delta;
    double error = (double)z - t;
    *slope = 2 * error;
    return error * error;
}

RW_INLINE double RW_E(term_huber)(RW_T z, double t, double delta, double *slope)
{
    double error = (double)z - t;
    double within = error > delta ? delta : error;
    within = within < -delta ? -delta : within;
    *slope = within;
    return within * (error - 0.5 * within);
}

RW_INLINE double RW_E(term_poisson)(RW_T z, double t, double delta, double *slope)
{
    (void)delta;
    double rate = (double)RW_E(exp)(z, true, true);
    *slope = rate - t;
    return rate - t * (double)z;
}

RW_INLINE double RW_E(term_hinge)(RW_T z, double t, double delta, double *slope)
{
    (void)delta;
    double side = 2 * t - 1, gap = 1 - side * (double)z;
    gap = RW_E(loss_keep)(gap < 0 ? 0 : ~UINT64_C(0), gap); /* a NaN stays one */
    *slope = -2 * side * gap;
    return gap * gap;
}

/* A loop for each. The one without a gradient adds the same terms. */
#define RW_LOSS_LOOP(name)                                                                     \
    RW_KERNEL void RW_E(loss_##name)(double delta, const RW_T *z, const double *t,             \
                                     const double *scale, RW_T *dz, double *sum, int32_t n)    \
    {                                                                                          \
        double slope;                                                                          \
        if (!dz) {                                                                             \
            RW_IVDEP                                                                           \
            for (int32_t k = 0; k < n; k++)                                                    \
                sum[k] += RW_E(term_##name)(z[k], t[k], delta, &slope);                        \
            return;                                                                            \
        }                                                                                      \
        RW_IVDEP                                                                               \
        for (int32_t k = 0; k < n; k++) {                                                      \
            sum[k] += RW_E(term_##name)(z[k], t[k], delta, &slope);                            \
            dz[k] = (RW_T)(scale[k] * slope);                                                  \
        }                                                                                      \
    }
RW_LOSS_LOOP(mse)
RW_LOSS_LOOP(huber)
RW_LOSS_LOOP(poisson)
RW_LOSS_LOOP(hinge)
#undef RW_LOSS_LOOP

/* Terms of the working precision wait in the first-level cache for the sums of float64, so that
 * either loop has vectors of one width. */
#define RW_TERMS 256

RW_INLINE void RW_E(add_terms)(double *restrict sum, const RW_T *restrict term, int32_t n)
{
    for (int32_t k = 0; k < n; k++)
        sum[k] += (double)term[k];
}

/* Loops begin at 0: where signed numbers may wrap (-fwrapv, which Python's builds add), compilers
 * make no vectors of those that index by a sum. */
RW_KERNEL void RW_E(loss_bce)(const RW_T *z, const RW_T *t, const RW_T *scale, RW_T *dz,
                              double *sum, int32_t n)
{
    RW_T term[RW_TERMS], slope;
    for (int32_t left = n, m; left > 0; left -= m, z += m, t += m, scale += m, sum += m) {
        m = left < RW_TERMS ? left : RW_TERMS;
        if (dz) {
            RW_IVDEP
            for (int32_t k = 0; k < m; k++) {
                term[k] = RW_E(term_bce)(z[k], t[k], &slope);
                dz[k] = scale[k] * slope;
            }
            dz += m;
        } else {
            for (int32_t k = 0; k < m; k++)
                term[k] = RW_E(term_bce)(z[k], t[k], &slope);
        }
        RW_E(add_terms)(sum, term, m);
    }
}

RW_KERNEL void RW_E(loss)(rw_loss kind, double delta, const void *outputs, const void *targets,
                          const void *scale, void *gradient, double *sum, int32_t n,
                          int32_t period)
{
    const RW_T *z = outputs, *t_own = targets;
    const double *t = targets;
    RW_T *dz = gradient;
    for (int32_t at = 0; at < n; at += period, z += period, t += period, t_own += period) {
        int32_t m = n - at < period ? n - at : period;
        switch (kind) {
        case RW_LOSS_SOFTMAX_CE: /* looks at all outputs of a sample: below */
            break;
        case RW_LOSS_SIGMOID_BCE:
            RW_E(loss_bce)(z, t_own, scale, dz, sum, m);
            break;
        case RW_LOSS_MSE:
            RW_E(loss_mse)(delta, z, t, scale, dz, sum, m);
            break;
        case RW_LOSS_HUBER:
            RW_E(loss_huber)(delta, z, t, scale, dz, sum, m);
            break;
        case RW_LOSS_POISSON:
            RW_E(loss_poisson)(delta, z, t, scale, dz, sum, m);
            break;
        case RW_LOSS_SQUARED_HINGE:
            RW_E(loss_hinge)(delta, z, t, scale, dz, sum, m);
            break;
        }
        if (dz)
            dz += period;
    }
}

RW_KERNEL void RW_E(largest)(const void *outputs, double *most, int32_t n, int32_t period)
{
    const RW_T *z = outputs;
    for (int32_t at = 0; at < n; at += period, z += period) {
        int32_t m = n - at < period ? n - at : period;
        for (int32_t k = 0; k < m; k++) /* not of NaN */
            most[k] = (double)z[k] > most[k] ? (double)z[k] : most[k];
    }
}

RW_INLINE void RW_E(exponentials_of)(const RW_T *z, const RW_T *most, RW_T *e, double *sum,
                                     int32_t n)
{
    RW_T term[RW_TERMS];
    for (int32_t left = n, m; left > 0; left -= m, z += m, most += m, sum += m) {
        m = left < RW_TERMS ? left : RW_TERMS;
        RW_T *to = e ? e : term;
        RW_IVDEP
        for (int32_t k = 0; k < m; k++)
            to[k] = RW_E(exp)(z[k] - most[k], false, true);
        RW_E(add_terms)(sum, to, m);
        if (e)
            e += m;
    }
}

RW_KERNEL void RW_E(exponentials)(const void *outputs, const void *most, void *result,
                                  double *sum, int32_t n, int32_t period)
{
    const RW_T *z = outputs;
    RW_T *e = result;
    for (int32_t at = 0; at < n; at += period, z += period) {
        RW_E(exponentials_of)(z, most, e, sum, n - at < period ? n - at : period);
        if (e)
            e += period;
    }
}

/* A class that cannot be (t = 0) may have z = -inf. */
RW_KERNEL void RW_E(distances)(const void *outputs, const double *most, const double *t,
                               double *sum, double *mass, int32_t n, int32_t period)
{
    const RW_T *z = outputs;
    for (int32_t at = 0; at < n; at += period, z += period, t += period) {
        int32_t m = n - at < period ? n - at : period;
        for (int32_t k = 0; k < m; k++) {
            double part = t[k] * (most[k] - (double)z[k]);
            sum[k] += RW_E(loss_keep)(t[k] != 0 ? ~UINT64_C(0) : 0, part);
            mass[k] += t[k];
        }
    }
}

RW_KERNEL void RW_E(softmax_back)(const double *times, const double *t, const double *scale,
                                  void *exponentials, int32_t n, int32_t period)
{
    RW_T *e = exponentials;
    for (int32_t at = 0; at < n; at += period, e += period, t = t ? t + period : NULL) {
        int32_t m = n - at < period ? n - at : period;
        if (!t) {
            for (int32_t k = 0; k < m; k++)
                e[k] = (RW_T)(scale[k] * (times[k] * (double)e[k]));
            continue;
        }
        for (int32_t k = 0; k < m; k++)
            e[k] = (RW_T)(scale[k] * (times[k] * (double)e[k] - t[k]));
    }
}

/* The other half of accuracy: a yes or no that is right. */
RW_KERNEL void RW_E(agree)(const void *outputs, double threshold, const void *targets, double *sum,
                           int32_t n, int32_t period)
{
    const RW_T *z = outputs, *t = targets;
    RW_T above = (RW_T)threshold, half = (RW_T)0.5;
    for (int32_t at = 0; at < n; at += period, z += period, t += period) {
        int32_t m = n - at < period ? n - at : period;
        for (int32_t k = 0; k < m; k++)
            sum[k] += (z[k] > above) == (t[k] > half) ? 1 : 0;
    }
}

/* --- the sums of R2 --------------------------------------------------------- */

RW_INLINE double RW_E(fold_sums)(double *lanes)
{
    for (int half = RW_ROW_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* One row, of a width that lanes divide. */
RW_INLINE void RW_E(r2_row)(const RW_T *z, const double *t, const double *weight, double total,
                            double *sums, size_t pitch, int32_t width)
{
    double error[RW_ROW_LANES], sum[RW_ROW_LANES], far[RW_ROW_LANES];
    double low[RW_ROW_LANES], high[RW_ROW_LANES], most[RW_ROW_LANES];
    for (int l = 0; l < RW_ROW_LANES; l++) {
        error[l] = sum[l] = far[l] = most[l] = 0;
        low[l] = high[l] = t[l];
    }
    for (int32_t b = 0; b < width; b += RW_ROW_LANES)
        for (int l = 0; l < RW_ROW_LANES; l++) {
            double v = t[b + l], w = weight[b + l], off = (double)z[b + l] - v;
            double size = (double)RW_FABS(z[b + l]);
            off = w != 0 ? off : 0;
            size = w != 0 ? size : 0;
            error[l] += w * (off * off);
            sum[l] += w * v;
            low[l] = v < low[l] ? v : low[l];
            high[l] = v > high[l] ? v : high[l];
            most[l] = size > most[l] ? size : most[l];
        }
    double mean = RW_E(fold_sums)(sum) / total;
    for (int32_t b = 0; b < width; b += RW_ROW_LANES)
        for (int l = 0; l < RW_ROW_LANES; l++) {
            double off = t[b + l] - mean;
            far[l] += weight[b + l] * (off * off);
        }
    for (int half = RW_ROW_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) {
            low[l] = low[l + half] < low[l] ? low[l + half] : low[l];
            high[l] = high[l + half] > high[l] ? high[l + half] : high[l];
            most[l] = most[l + half] > most[l] ? most[l + half] : most[l];
        }
    double largest = high[0] > -low[0] ? high[0] : -low[0];
    sums[RW_R2_ERROR * pitch] = RW_E(fold_sums)(error);
    sums[RW_R2_MEAN * pitch] = mean;
    sums[RW_R2_DEVIATIONS * pitch] = RW_E(fold_sums)(far);
    sums[RW_R2_LOW * pitch] = low[0];
    sums[RW_R2_HIGH * pitch] = high[0];
    sums[RW_R2_LARGEST * pitch] = largest > most[0] ? largest : most[0];
}

RW_KERNEL void RW_E(r2)(const void *outputs, int32_t tile, const double *t, const double *weight,
                        double total, double *sums, size_t pitch, int32_t n, int32_t width)
{
    const RW_T *z = outputs;
    RW_T few[RW_ROW_LANES] = { 0 };
    double few_t[RW_ROW_LANES], few_weights[RW_ROW_LANES] = { 0 };
    for (int32_t i = 0; i < n; i++, z += tile, t += width) {
        if (width >= RW_ROW_LANES) {
            RW_E(r2_row)(z, t, weight, total, sums + i, pitch, width);
            continue;
        }
        for (int l = 0; l < RW_ROW_LANES; l++)
            few_t[l] = t[l < width ? l : 0];
        for (int l = 0; l < width; l++) {
            few[l] = z[l];
            few_weights[l] = weight[l];
        }
        RW_E(r2_row)(few, few_t, few_weights, total, sums + i, pitch, RW_ROW_LANES);
    }
}

#undef RW_TERMS
