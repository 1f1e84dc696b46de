/* kernels_dw_rows.h -- dW of groups whose rows are the lanes, for as many samples as a register would hold.
 *
 * Included by kernels_body.h for every register type. With so few samples as lanes dW would spend its time
 * on adding up lanes. So the rows of a group are the lanes, and each sample has a register of products. These
 * are added in halves, as the lanes are, and as they come, so that few are held at a time: the same bits. */

/* Samples that a register holds where they are the lanes: more than the lanes here in most sets. */
#ifdef RW_BY_ROWS_OF_16
#define RW_SAMPLE_LANES RW_BY_ROWS_OF_16
#else
#define RW_SAMPLE_LANES 16
#endif

/* Rows of a group of which each sample's values are `out`, and the samples of a source. Where a register
 * would not hold all of them, a lane would have two, `apart`; else that is 0. */
typedef struct {
    const RW_VEC *out;
    const RW_T *x;
    int apart;
} RW_V(terms);

RW_INLINE RW_VEC RW_V(products_1)(RW_V(terms) of, const int samples, const int sample)
{
    (void)samples;
    RW_VEC sum = RW_V(fma)(RW_V(set1)(of.x[sample]), of.out[sample], RW_V(zero)());
    const int next = sample + of.apart;
    return of.apart ? RW_V(fma)(RW_V(set1)(of.x[next]), of.out[next], sum) : sum;
}

/* The sum over n samples, which begin with `sample` and are samples / n apart. */
#define RW_PRODUCTS_OF(n, half)                                                                   \
    RW_INLINE RW_VEC RW_V(products_##n)(RW_V(terms) of, const int samples, const int sample)      \
    {                                                                                             \
        RW_VEC sum = RW_V(products_##half)(of, samples, sample);                                  \
        return RW_V(add)(sum, RW_V(products_##half)(of, samples, sample + samples / n));          \
    }
RW_PRODUCTS_OF(2, 1)
RW_PRODUCTS_OF(4, 2)
RW_PRODUCTS_OF(8, 4)
RW_PRODUCTS_OF(16, 8)

/* The gradients of a slot of RW_LANES rows. */
RW_INLINE RW_VEC RW_V(slot_gradient)(const RW_VEC *out, const RW_T *x, const int samples)
{
    RW_V(terms) of = { out, x, samples > RW_SAMPLE_LANES ? RW_SAMPLE_LANES : 0 };
    const int lanes = samples - of.apart;
    return lanes == 1   ? RW_V(products_1)(of, 1, 0)
           : lanes == 2 ? RW_V(products_2)(of, 2, 0)
           : lanes == 4 ? RW_V(products_4)(of, 4, 0)
           : lanes == 8 ? RW_V(products_8)(of, 8, 0)
                        : RW_V(products_16)(of, 16, 0);
}

/* The rows of a group sample by sample, RW_LANES values each. */
RW_INLINE void RW_V(turn_rows)(const RW_T *dy, RW_T *to, const int samples)
{
    if (samples == 1) {
        RW_V(store)(to, RW_V(load)(dy));
    } else if (samples < RW_LANES) {
        RW_UNROLL
        for (int b = 0; b < samples; b++) {
            RW_UNROLL
            for (int r = 0; r < RW_LANES; r++)
                to[b * RW_LANES + r] = dy[r * samples + b];
        }
    } else {
        RW_UNROLL
        for (int b = 0; b < samples; b += RW_LANES) {
            char *from[RW_LANES], *place[RW_LANES];
            RW_UNROLL
            for (int r = 0; r < RW_LANES; r++) {
                from[r] = (char *)(uintptr_t)(dy + r * samples + b);
                place[r] = (char *)(to + (b + r) * RW_LANES);
            }
            RW_V(turn)(from, place);
        }
    }
}

RW_INLINE void RW_V(dw_turned)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                               const rw_span *span, const int64_t *first, RW_T *grad, RW_T *turned,
                               const int samples)
{
    const RW_T *dy = span->dy, *x = span->x;
    const bool add = span->add;
    RW_VEC out[16];
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = w->source + w->start[g];
        RW_T *to = grad + first[g - g0] * RW_LANES;
        int32_t *at = p->at + (g - g0), k = *at, len = w->len[g], end = p->end;
        RW_V(turn_rows)(dy + (size_t)g * (size_t)(RW_LANES * samples), turned, samples);
        RW_UNROLL
        for (int b = 0; b < samples; b++)
            out[b] = RW_V(load)(turned + b * RW_LANES);
        for (; k < len && source[k] < end; k++) {
            RW_VEC sum = RW_V(slot_gradient)(out, x + (size_t)source[k] * (size_t)samples, samples);
            RW_T *sums = to + (size_t)k * RW_LANES;
            RW_V(store)(sums, add ? RW_V(add)(RW_V(load)(sums), sum) : sum);
        }
        *at = k;
    }
}

#define RW_DW_BY_ROWS_OF(samples)                                                                 \
    RW_OUTLINE void RW_V(dw_by_rows_##samples)(const rw_rows *w, int32_t g0, int32_t g1,          \
                                               const rw_panel *p, const rw_span *span,            \
                                               const int64_t *first, void *grad)                  \
    {                                                                                             \
        RW_T turned[RW_LANES * (samples)]; /* rows of a group sample by sample */                 \
        RW_V(dw_turned)(w, g0, g1, p, span, first, grad, turned, samples);                        \
    }
RW_DW_BY_ROWS_OF(1)
RW_DW_BY_ROWS_OF(2)
RW_DW_BY_ROWS_OF(4)
RW_DW_BY_ROWS_OF(8)
#ifdef RW_BY_ROWS_OF_16
RW_DW_BY_ROWS_OF(16)
#define RW_MOST_BY_ROWS 16
#else
#define RW_MOST_BY_ROWS 8
#endif

/* For groups of RW_LANES rows, and one tile of at most 8 samples, or 16 where the type has
 * RW_BY_ROWS_OF_16. */
RW_KERNEL void RW_V(dw_by_rows)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                const rw_span *span, const int64_t *first, void *grad)
{
    RW_ASSERT(span->tile <= RW_MOST_BY_ROWS); /* a set of wider registers may have forgotten the 16 */
    switch (span->tile) {
    case 1: RW_V(dw_by_rows_1)(w, g0, g1, p, span, first, grad); break;
    case 2: RW_V(dw_by_rows_2)(w, g0, g1, p, span, first, grad); break;
    case 4: RW_V(dw_by_rows_4)(w, g0, g1, p, span, first, grad); break;
#ifdef RW_BY_ROWS_OF_16
    case 16: RW_V(dw_by_rows_16)(w, g0, g1, p, span, first, grad); break;
#endif
    default: RW_V(dw_by_rows_8)(w, g0, g1, p, span, first, grad); break;
    }
}

/* --- dW and a step of SGD in one go ------------------------------------------- */

/* Of one or two samples a gradient is one or two products, so what counts is that gradients need not be
 * written and read again. Every slot sees the operations of dw and update in their order: the same bits. The
 * flags are constants for the usual optimizer. */
RW_INLINE void RW_V(sgd_turned)(const rw_rows *w, int32_t g0, int32_t g1, const rw_span *span,
                                const rw_update *u, RW_T *weight, RW_T *m, const int samples,
                                const bool momentum, const bool nesterov, const bool l2,
                                const bool shrinks)
{
    RW_T turned[2 * RW_LANES];
    RW_VEC out[2], lr = RW_V(set1)((RW_T)u->lr), mu = RW_V(set1)((RW_T)u->momentum);
    RW_VEC decay = RW_V(set1)((RW_T)u->decay);
    RW_VEC shrink = RW_V(set1)((RW_T)(u->decay_kind == RW_DECAY_PER_STEP ? u->decay : u->lr * u->decay));
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = w->source + w->start[g];
        size_t first = (size_t)w->start[g] * RW_LANES;
        RW_T *at = weight + first, *moments = momentum ? m + first : NULL;
        RW_V(turn_rows)((const RW_T *)span->dy + (size_t)g * (size_t)(RW_LANES * samples), turned, samples);
        RW_UNROLL
        for (int b = 0; b < samples; b++)
            out[b] = RW_V(load)(turned + b * RW_LANES);
        for (int32_t k = 0; k < w->len[g]; k++, at += RW_LANES) {
            const RW_T *x = (const RW_T *)span->x + (size_t)source[k] * (size_t)samples;
            RW_VEC grad = RW_V(slot_gradient)(out, x, samples), value = RW_V(load)(at);
            if (l2)
                grad = RW_V(add)(grad, RW_V(mul)(decay, value));
            RW_VEC step = grad;
            if (momentum) {
                RW_T *moment = moments + (size_t)k * RW_LANES;
                step = RW_V(add)(RW_V(mul)(mu, RW_V(load)(moment)), grad);
                RW_V(store)(moment, step);
                if (nesterov)
                    step = RW_V(add)(grad, RW_V(mul)(mu, step));
            }
            if (shrinks)
                value = RW_V(sub)(value, RW_V(mul)(shrink, value));
            RW_V(store)(at, RW_V(sub)(value, RW_V(mul)(lr, step)));
        }
    }
}

#define RW_SGD_BY_ROWS_OF(samples)                                                                \
    RW_OUTLINE void RW_V(sgd_by_rows_##samples)(const rw_rows *w, int32_t g0, int32_t g1,         \
                                                const rw_span *span, const rw_update *u,          \
                                                RW_T *weight, RW_T *m)                            \
    {                                                                                             \
        bool momentum = u->momentum != 0, l2 = u->decay != 0 && u->decay_kind == RW_DECAY_L2;     \
        bool shrinks = u->decay != 0 && !l2;                                                      \
        if (momentum && !u->nesterov && u->decay == 0)                                            \
            RW_V(sgd_turned)(w, g0, g1, span, u, weight, m, samples, true, false, false, false);  \
        else                                                                                      \
            RW_V(sgd_turned)(w, g0, g1, span, u, weight, m, samples, momentum, u->nesterov, l2,   \
                             shrinks);                                                            \
    }
RW_SGD_BY_ROWS_OF(1)
RW_SGD_BY_ROWS_OF(2)

/* For groups of RW_LANES rows. */
RW_KERNEL void RW_V(sgd_by_rows)(const rw_rows *w, int32_t g0, int32_t g1, const rw_span *span,
                                 const rw_update *u, void *weight, void *m)
{
    RW_ASSERT(span->tile <= 2);
    if (span->tile == 1)
        RW_V(sgd_by_rows_1)(w, g0, g1, span, u, weight, m);
    else
        RW_V(sgd_by_rows_2)(w, g0, g1, span, u, weight, m);
}

#undef RW_PRODUCTS_OF
#undef RW_SGD_BY_ROWS_OF
#undef RW_SAMPLE_LANES
#undef RW_DW_BY_ROWS_OF
#undef RW_MOST_BY_ROWS
