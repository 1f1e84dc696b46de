/* kernels_small_batch.h -- dW and an SGD step in one go, for one or two samples.
 *
 * With one or two samples a slot's gradient is one or two products, and what counts is
 * the traffic and the loops around them. So the slots of a row fill the lanes: their
 * activations are gathered, and weights and momentum are read and written once. A
 * row's last lanes are masked, so no branch hangs on how many are left. Every slot
 * sees the operations of dw and update in their order: the same bits.
 *
 * Worth it only where gathers and masks are instructions (AVX-512). */

/* x . dy for up to 16 slots of one row; tile is 1 or 2. */
RW_INLINE f32x16 f32_small_batch_dots(const int32_t *source, __mmask16 live, const float *x,
                                      __m512 dy, int32_t tile)
{
    __m512i at = _mm512_maskz_loadu_epi32(live, source);
    const __m512 zero = _mm512_setzero_ps(); /* dw adds to it, which turns -0 into 0 */
    if (tile == 1)
        return _mm512_fmadd_ps(_mm512_mask_i32gather_ps(zero, live, at, x, 4), dy, zero);
    /* Pairs of samples are gathered as if they were doubles. */
    __m512d none = _mm512_setzero_pd();
    __m512 first = _mm512_castpd_ps(_mm512_mask_i32gather_pd(
        none, (__mmask8)live, _mm512_castsi512_si256(at), (const void *)x, 8));
    __m512 last = _mm512_castpd_ps(_mm512_mask_i32gather_pd(
        none, (__mmask8)(live >> 8), _mm512_extracti32x8_epi32(at, 1), (const void *)x, 8));
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    first = _mm512_fmadd_ps(first, dy, zero);
    last = _mm512_fmadd_ps(last, dy, zero);
    return _mm512_add_ps(_mm512_permutex2var_ps(first, even, last),
                         _mm512_permutex2var_ps(first, odd, last));
}

/* One row. The flags are constants for the usual optimizers. */
RW_INLINE void f32_small_batch_row(const int32_t *source, int32_t len, const float *x, __m512 dy,
                                   int32_t tile, const rw_update *u, float *w, float *m,
                                   const bool momentum, const bool nesterov, const bool l2,
                                   const bool shrinks)
{
    __m512 lr = _mm512_set1_ps((float)u->lr), mu = _mm512_set1_ps((float)u->momentum);
    __m512 decay = _mm512_set1_ps((float)u->decay);
    __m512 shrink = _mm512_set1_ps(
        (float)(u->decay_kind == RW_DECAY_PER_STEP ? u->decay : u->lr * u->decay));
    for (int32_t k = 0; k < len; k += 16) {
        __mmask16 live = (__mmask16)(len - k >= 16 ? UINT16_MAX : (1 << (len - k)) - 1);
        __m512 grad = f32_small_batch_dots(source + k, live, x, dy, tile);
        __m512 weight = _mm512_maskz_loadu_ps(live, w + k);
        if (l2)
            grad = _mm512_add_ps(grad, _mm512_mul_ps(decay, weight));
        __m512 step = grad;
        if (momentum) {
            __m512 moment = _mm512_maskz_loadu_ps(live, m + k);
            moment = _mm512_add_ps(_mm512_mul_ps(mu, moment), grad);
            _mm512_mask_storeu_ps(m + k, live, moment);
            step = nesterov ? _mm512_add_ps(grad, _mm512_mul_ps(mu, moment)) : moment;
        }
        if (shrinks)
            weight = _mm512_sub_ps(weight, _mm512_mul_ps(shrink, weight));
        weight = _mm512_sub_ps(weight, _mm512_mul_ps(lr, step));
        _mm512_mask_storeu_ps(w + k, live, weight);
    }
}

RW_INLINE void f32_small_batch_rows(const rw_rows *s, int32_t g0, int32_t g1, const rw_span *span,
                                    const rw_update *u, float *w, float *m, const bool momentum,
                                    const bool nesterov, const bool l2, const bool shrinks)
{
    const float *x = span->x, *dy = span->dy;
    for (int32_t g = g0; g < g1; g++) {
        int64_t at = s->start[g];
        __m512 out;
        if (span->tile == 1)
            out = _mm512_set1_ps(dy[g]);
        else
            out = _mm512_castpd_ps(
                _mm512_broadcastsd_pd(_mm_castps_pd(f32x2_load(dy + 2 * (size_t)g).v)));
        f32_small_batch_row(s->source + at, s->len[g], x, out, span->tile, u, w + at,
                            m ? m + at : NULL, momentum, nesterov, l2, shrinks);
    }
}

RW_KERNEL void f32_small_batch_sgd(const rw_rows *s, int32_t g0, int32_t g1, const rw_span *span,
                                   const rw_update *u, void *weight, void *m)
{
    bool momentum = u->momentum != 0, l2 = u->decay != 0 && u->decay_kind == RW_DECAY_L2;
    bool shrinks = u->decay != 0 && !l2;
    if (momentum && !u->nesterov && !l2 && !shrinks)
        f32_small_batch_rows(s, g0, g1, span, u, weight, m, true, false, false, false);
    else if (momentum && !u->nesterov && l2)
        f32_small_batch_rows(s, g0, g1, span, u, weight, m, true, false, true, false);
    else
        f32_small_batch_rows(s, g0, g1, span, u, weight, m, momentum, u->nesterov, l2, shrinks);
}
