/* kernels_few.h -- dW of groups, for batches that one register would hold.
 *
 * Included by kernels_body.h for every register type. With so few samples dW would spend its time
 * on adding up lanes. So the rows of a group are the lanes, each sample has a register of products,
 * and these are added in halves, as the lanes of dw are: the same bits. */

RW_INLINE void RW_V(dw_few_rows)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                                 const rw_span *span, const int64_t *first, RW_T *grad,
                                 const int samples)
{
    const RW_T *x = span->x;
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = w->source + w->start[g];
        const RW_T *dy = (const RW_T *)span->dy + (size_t)g * (size_t)(RW_LANES * samples);
        RW_T turned[8 * RW_LANES], *to = grad + first[g - g0] * RW_LANES;
        RW_VEC out[8];
        RW_UNROLL
        for (int b = 0; b < samples; b++) {
            RW_UNROLL
            for (int r = 0; r < RW_LANES; r++)
                turned[b * RW_LANES + r] = dy[r * samples + b];
            out[b] = RW_V(load)(turned + b * RW_LANES);
        }
        int32_t *at = p->at + (g - g0), k = *at, len = w->len[g], end = p->end;
        for (; k < len && source[k] < end; k++) {
            const RW_T *in = x + (size_t)source[k] * (size_t)samples;
            RW_T *sum = to + (size_t)k * RW_LANES;
            RW_VEC acc[8];
            RW_UNROLL
            for (int b = 0; b < samples; b++)
                acc[b] = RW_V(fma)(RW_V(set1)(in[b]), out[b], RW_V(zero)());
            RW_UNROLL
            for (int half = samples / 2; half > 0; half /= 2) {
                RW_UNROLL
                for (int b = 0; b < half; b++)
                    acc[b] = RW_V(add)(acc[b], acc[b + half]);
            }
            RW_V(store)(sum, span->add ? RW_V(add)(RW_V(load)(sum), acc[0]) : acc[0]);
        }
        *at = k;
    }
}

/* For groups of RW_LANES rows, and one tile of at most RW_DW_FEW_SAMPLES samples. */
RW_KERNEL void RW_V(dw_few)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                            const rw_span *span, const int64_t *first, void *grad)
{
    switch (span->tile) {
    case 1: RW_V(dw_few_rows)(w, g0, g1, p, span, first, grad, 1); break;
    case 2: RW_V(dw_few_rows)(w, g0, g1, p, span, first, grad, 2); break;
    case 4: RW_V(dw_few_rows)(w, g0, g1, p, span, first, grad, 4); break;
    default: RW_V(dw_few_rows)(w, g0, g1, p, span, first, grad, 8); break;
    }
}
