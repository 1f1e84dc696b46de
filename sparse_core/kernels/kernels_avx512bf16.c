/* kernels_avx512bf16.c -- products of bfloat16, 32 at a time.
 * Empty where the compiler or the machine is another. */
#include "kernels/kernels_bf16.h"
#include "kernels/kernels_isa.h"

#if RW_X86_BF16
#define RW_TARGET \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma")))
#include "kernels/vec_avx512.h"

/* Panels of dX must take four times as many slots of a row as in float32: there is half as much to do
 * between two jumps, and dy goes into registers for each panel anew. Measured at widths 1000 to 4096, on
 * an AMD EPYC. */
static const rw_tuning bf16_tuning = RW_TUNING_WITH(INT64_MAX, 4, 80);

/* --- pairs ------------------------------------------------------------------- */

/* Words of a register, and bits of one. */
enum { WORDS = 32, HALF = 16 };
#define LOW_HALVES 0x55555555u

/* Of the pairs in a and b: what a has high beside what b has high, and the same of what they have low. */
RW_INLINE __m512i of_highs(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(LOW_HALVES, a, _mm512_srli_epi32(b, HALF));
}

RW_INLINE __m512i of_lows(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(LOW_HALVES, _mm512_slli_epi32(a, HALF), b);
}

RW_INLINE __m512 add_pairs(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/* A pair of weights in each lane. */
RW_INLINE __m512i spread(const uint16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return _mm512_set1_epi32(both);
}

/* One weight, high, beside -0: with +0 on the other side their product is -0, which changes no sum. */
RW_INLINE __m512i spread_one(const uint16_t *weight)
{
    enum { MINUS_ZERO = -0x8000 };
    return _mm512_mask_set1_epi16(_mm512_set1_epi16((int16_t)*weight), LOW_HALVES, MINUS_ZERO);
}

RW_INLINE __m512i words_at(const uint16_t *p) { return _mm512_loadu_si512(p); }

/* --- rounding ------------------------------------------------------------------ */

/* 32 values, rounded: word i is value i. */
RW_INLINE __m512i round_32(__m512 first, __m512 second)
{
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

/* Word i of the result is word from(i) of what is rounded; `low` is how far behind its partner, a high
 * half, a low half lies. */
RW_INLINE __m512i order_of_pairs(int32_t low)
{
    uint16_t from[WORDS];
    for (int32_t i = 0; i < WORDS; i++)
        from[i] = (uint16_t)(i / (2 * low) * (2 * low) + i % (2 * low) / 2 + (i % 2 ? 0 : low));
    return _mm512_loadu_si512(from);
}

RW_KERNEL void bf16_narrow(const float *x, uint16_t *y, int64_t n)
{
    const __m512i order = order_of_pairs(RW_BF16_BLOCK / 2);
    for (int64_t i = 0; i < n; i += RW_BF16_BLOCK) {
        __m512i words = round_32(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + RW_BF16_BLOCK / 2));
        _mm512_storeu_si512(y + i, _mm512_permutexvar_epi16(order, words));
    }
}

/* n values whose pairs have the order. */
RW_INLINE void round_values(const float *w, uint16_t *to, int64_t n, __m512i order)
{
    int64_t i = 0;
    for (; i + WORDS <= n; i += WORDS) {
        __m512i words = round_32(_mm512_loadu_ps(w + i), _mm512_loadu_ps(w + i + WORDS / 2));
        _mm512_storeu_si512(to + i, _mm512_permutexvar_epi16(order, words));
    }
    if (i == n)
        return;
    __mmask32 rest = ((__mmask32)1 << (n - i)) - 1;
    __m512 first = _mm512_maskz_loadu_ps((__mmask16)rest, w + i);
    __m512 second = _mm512_maskz_loadu_ps((__mmask16)(rest >> WORDS / 2), w + i + WORDS / 2);
    _mm512_mask_storeu_epi16(to + i, rest, _mm512_permutexvar_epi16(order, round_32(first, second)));
}

RW_KERNEL void bf16_pair_slots(const rw_rows *s, int32_t g0, int32_t g1, uint16_t *to)
{
    const __m512i order = order_of_pairs(s->group);
    for (int32_t g = g0; g < g1; g++) {
        int64_t at = s->start[g] * s->group;
        int32_t odd = s->len[g] % 2 * s->group;
        int64_t paired = (int64_t)s->len[g] * s->group - odd;
        const float *w = (const float *)s->weight + at;
        round_values(w, to + at, paired, order);
        if (odd) {
            __mmask8 rows = (__mmask8)((1u << odd) - 1);
            __m256 last = _mm256_maskz_loadu_ps(rows, w + paired);
            _mm_mask_storeu_epi16(to + at + paired, rows, (__m128i)_mm256_cvtneps_pbh(last));
        }
    }
}

RW_KERNEL void bf16_pair_rows(const rw_rows *s, int32_t g0, int32_t g1, uint16_t *to)
{
    const __m512i order = order_of_pairs(1);
    for (int32_t g = g0; g < g1; g++) {
        int64_t at = s->start[g] * s->group;
        round_values((const float *)s->weight + at, to + at, (int64_t)s->len[g] * s->group, order);
    }
}

/* --- what is fetched ahead -------------------------------------------------------- */

/* Bytes from an address on, which may be none of ours: nothing is read. */
RW_INLINE void fetch_bytes(uintptr_t at, int32_t bytes)
{
    for (int32_t i = 0; i < bytes; i += RW_LINE)
        RW_PREFETCH((const void *)(at + (uintptr_t)i));
}

/* A row's next piece, as in kernels_body.h: its sources from slot `at` on, and what it has of `values`. */
RW_INLINE void fetch_slots(const rw_rows *s, int32_t g, int32_t at, int32_t slots, uintptr_t values,
                           int32_t bytes)
{
    fetch_bytes((uintptr_t)(s->source + s->start[g] + at), slots * (int32_t)sizeof(int32_t));
    fetch_bytes(values, slots * bytes);
}

RW_INLINE void fetch_pairs(const rw_rows *s, int32_t g, int32_t at, int32_t slots, const int rows)
{
    const uint16_t *w = (const uint16_t *)s->weight + (s->start[g] + at) * rows;
    fetch_slots(s, g, at, slots, (uintptr_t)w, rows * (int32_t)sizeof *w);
}

/* --- forward ----------------------------------------------------------------------- */

/* One slot alone: a half of its pair's weights, `step` words apart, or the last one of an odd number. */
RW_INLINE void forward_slot(__m512 *sum, const uint16_t *x, const uint16_t *w, int32_t step,
                            const int rows, const int blocks)
{
    const int regs = 2 * blocks;
    const __m512i none = _mm512_setzero_si512();
    __m512i in[4];
    RW_UNROLL
    for (int b = 0; b < blocks; b++) {
        in[2 * b] = of_highs(words_at(x + b * WORDS), none);
        in[2 * b + 1] = of_lows(words_at(x + b * WORDS), none);
    }
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        __m512i weight = spread_one(w + r * step);
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            sum[r * regs + i] = add_pairs(sum[r * regs + i], in[i], weight);
    }
}

/* One group's slots of a panel, from k on, for some blocks of samples; as forward_block of float32. */
RW_INLINE int32_t forward_blocks(const int32_t *source, const uint16_t *w, int32_t k, int32_t len,
                                 const rw_panel *p, const uint16_t *x, const float *bias, float *y,
                                 size_t tile, const int rows, const int blocks, const bool far)
{
    const int regs = 2 * blocks;
    const int32_t end = p->end;
    __m512 sum[16];
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        __m512 first = bias ? f32x16_set1(bias[r]) : f32x16_zero();
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            sum[r * regs + i] = p->more ? f32x16_load(y + (size_t)r * tile + i * 16) : first;
    }
    if (k % 2 && k < len && source[k] < end) { /* the panel before has taken the first of a pair */
        forward_slot(sum, x + (size_t)source[k] * tile, w + (size_t)(k - 1) * (size_t)rows, 2, rows, blocks);
        k++;
    }
    const int32_t *at = source + k, *stop = source + len;
    const uint16_t *its = w + (size_t)k * (size_t)rows;
    for (; stop - at > 1 && at[1] < end; at += 2, its += 2 * rows) {
        const uint16_t *one = x + (size_t)at[0] * tile, *other = x + (size_t)at[1] * tile;
        if (far) {
            int32_t bytes = blocks * WORDS * (int32_t)sizeof *x;
            fetch_bytes((uintptr_t)(x + (size_t)at[RW_AHEAD] * tile), bytes);
            fetch_bytes((uintptr_t)(x + (size_t)at[1 + RW_AHEAD] * tile), bytes);
        }
        __m512i in[4];
        RW_UNROLL
        for (int b = 0; b < blocks; b++) {
            __m512i first = words_at(one + b * WORDS), second = words_at(other + b * WORDS);
            in[2 * b] = of_highs(first, second);
            in[2 * b + 1] = of_lows(first, second);
        }
        RW_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i weights = spread(its + 2 * r);
            RW_UNROLL
            for (int i = 0; i < regs; i++)
                sum[r * regs + i] = add_pairs(sum[r * regs + i], in[i], weights);
        }
    }
    k = (int32_t)(at - source);
    if (k < len && source[k] < end) { /* its partner belongs to the next panel, or it has none */
        bool paired = k + 1 < len;
        forward_slot(sum, x + (size_t)*at * tile, its + paired, 1 + paired, rows, blocks);
        k++;
    }
    RW_UNROLL
    for (int r = 0; r < rows; r++) {
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            f32x16_store(y + (size_t)r * tile + i * 16, sum[r * regs + i]);
    }
    return k;
}

/* Cut [0, cols) into `most` blocks at a time, then into single ones: `call` sees the first sample `c`, and
 * whether its slots are `far`, which a loop over them is not to ask. */
#define BF16_BLOCKS(most, is_far, call)                                    \
    do {                                                                   \
        int32_t c = 0;                                                     \
        BF16_BLOCKS_OF(most, is_far, call)                                 \
        if ((most) > 1)                                                    \
            BF16_BLOCKS_OF(1, is_far, call)                                \
    } while (0)
#define BF16_BLOCKS_OF(n, is_far, call)                                    \
    for (; c + (n) * WORDS <= cols; c += (n) * WORDS) {                    \
        const int blocks = (n);                                            \
        if (is_far) {                                                      \
            const bool far = true;                                         \
            call;                                                          \
        } else {                                                           \
            const bool far = false;                                        \
            call;                                                          \
        }                                                                  \
    }

RW_INLINE void forward_groups(const rw_rows *s, int32_t g0, int32_t g1, const rw_panel *p,
                              const rw_strip *strip, const float *bias, int32_t cols, size_t tile,
                              const int rows, const int most)
{
    int32_t *at = p->at;
    for (int32_t g = g0; g < g1; g++, at++) {
        const int32_t *source = s->source + s->start[g];
        const uint16_t *w = (const uint16_t *)s->weight + s->start[g] * rows;
        const float *b = bias ? bias + (size_t)g * (size_t)rows : NULL;
        const uint16_t *in = strip->in;
        float *out = (float *)strip->out + (size_t)g * (size_t)rows * tile;
        int32_t first = *at, len = s->len[g];
        bool is_far = p->far && rw_can_look_ahead(s, g, len);
        if (p->slots && g + RW_ROWS_AHEAD < g1)
            fetch_pairs(s, g + RW_ROWS_AHEAD, at[RW_ROWS_AHEAD], p->slots, rows);
        BF16_BLOCKS(most, is_far, *at = forward_blocks(source, w, first, len, p, in + c, b, out + c, tile,
                                               rows, blocks, far));
    }
}

/* A tile of the usual size is a case of its own, as in kernels_body.h. */
enum { FULL = RW_TILE_BYTES / (int)sizeof(float) };

#define BF16_FORWARD_OF(group, most)                                                               \
    RW_OUTLINE void bf16_forward_##group(const rw_rows *w, int32_t g0, int32_t g1,                 \
                                         const rw_panel *p, const rw_strip *s, const float *bias)  \
    {                                                                                              \
        if (s->tile == FULL && s->cols == FULL)                                                    \
            forward_groups(w, g0, g1, p, s, bias, FULL, FULL, group, most);                        \
        else                                                                                       \
            forward_groups(w, g0, g1, p, s, bias, s->cols, (size_t)s->tile, group, most);          \
    }
BF16_FORWARD_OF(1, 2)
BF16_FORWARD_OF(2, 2)
BF16_FORWARD_OF(4, 2)
BF16_FORWARD_OF(8, 1)

RW_KERNEL void bf16_forward(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                            const rw_strip *s, const void *bias)
{
    switch (w->group) {
    case 1: bf16_forward_1(w, g0, g1, p, s, bias); break;
    case 2: bf16_forward_2(w, g0, g1, p, s, bias); break;
    case 4: bf16_forward_4(w, g0, g1, p, s, bias); break;
    default: bf16_forward_8(w, g0, g1, p, s, bias); break;
    }
}

/* --- dX by scattering ---------------------------------------------------------------- */

/* dy stays in registers, its rows in pairs. Returns the first slot not taken. */
RW_INLINE int32_t scatter_blocks(const int32_t *source, const uint16_t *w, int32_t k, int32_t len,
                                 int32_t end, const uint16_t *dy, float *dx, size_t tile,
                                 const int rows, const int blocks, const bool far)
{
    const int regs = 2 * blocks;
    __m512i in[16];
    RW_UNROLL
    for (int r = 0; r < rows; r += 2) {
        const uint16_t *one = dy + (size_t)r * tile, *other = one + tile;
        RW_UNROLL
        for (int b = 0; b < blocks; b++) {
            __m512i first = words_at(one + b * WORDS), second = words_at(other + b * WORDS);
            in[r / 2 * regs + 2 * b] = of_highs(first, second);
            in[r / 2 * regs + 2 * b + 1] = of_lows(first, second);
        }
    }
    for (; k < len && source[k] < end; k++) {
        float *to = dx + (size_t)source[k] * tile;
        if (far)
            fetch_bytes((uintptr_t)(dx + (size_t)source[k + RW_AHEAD] * tile),
                        regs * 16 * (int32_t)sizeof *dx);
        __m512 sum[4];
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            sum[i] = f32x16_load(to + i * 16);
        RW_UNROLL
        for (int r = 0; r < rows; r += 2) {
            __m512i weights = spread(w + (size_t)k * (size_t)rows + (size_t)r);
            RW_UNROLL
            for (int i = 0; i < regs; i++)
                sum[i] = add_pairs(sum[i], in[r / 2 * regs + i], weights);
        }
        RW_UNROLL
        for (int i = 0; i < regs; i++)
            f32x16_store(to + i * 16, sum[i]);
    }
    return k;
}

RW_INLINE void scatter_groups(const rw_rows *s, int32_t g0, int32_t g1, const rw_panel *p,
                              const rw_strip *strip, int32_t cols, size_t tile, const int rows)
{
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = s->source + s->start[g];
        const uint16_t *w = (const uint16_t *)s->weight + s->start[g] * rows;
        const uint16_t *from = (const uint16_t *)strip->in + (size_t)g * (size_t)rows * tile;
        float *dx = strip->out;
        int32_t *at = p->at + (g - g0), first = *at, len = s->len[g];
        bool is_far = p->far && rw_can_look_ahead(s, g, len);
        if (p->slots && g + RW_ROWS_AHEAD < g1)
            fetch_pairs(s, g + RW_ROWS_AHEAD, at[RW_ROWS_AHEAD], p->slots, rows);
        BF16_BLOCKS(2, is_far, *at = scatter_blocks(source, w, first, len, p->end, from + c, dx + c, tile,
                                            rows, blocks, far));
    }
}

#define BF16_SCATTER_OF(group)                                                                 \
    RW_OUTLINE void bf16_scatter_##group(const rw_rows *w, int32_t g0, int32_t g1,             \
                                         const rw_panel *p, const rw_strip *s)                 \
    {                                                                                          \
        if (s->tile == FULL && s->cols == FULL)                                                \
            scatter_groups(w, g0, g1, p, s, FULL, FULL, group);                                \
        else                                                                                   \
            scatter_groups(w, g0, g1, p, s, s->cols, (size_t)s->tile, group);                  \
    }
BF16_SCATTER_OF(2)
BF16_SCATTER_OF(4)
BF16_SCATTER_OF(8)

RW_KERNEL void bf16_dx_scatter(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                               const rw_strip *s)
{
    switch (w->group) {
    case 2: bf16_scatter_2(w, g0, g1, p, s); break;
    case 4: bf16_scatter_4(w, g0, g1, p, s); break;
    default: bf16_scatter_8(w, g0, g1, p, s); break;
    }
}

/* --- dW -------------------------------------------------------------------------------- */

/* `slots` slots of `rows` rows at once, over all samples of a span: a pair is two samples. */
RW_INLINE void dw_slots(const int32_t *source, const rw_span *s, const uint16_t *dy, float *grad,
                        size_t tile, size_t last, const int rows, const int slots)
{
    __m512 sum[16];
    const uint16_t *x = s->x, *from[8];
    RW_UNROLL
    for (int i = 0; i < slots * rows; i++)
        sum[i] = f32x16_zero();
    RW_UNROLL
    for (int k = 0; k < slots; k++)
        from[k] = x + (size_t)source[k] * tile;
    for (int32_t t = 0; t < s->n_tiles; t++) {
        size_t at = (size_t)t * s->x_step, cols = t + 1 < s->n_tiles ? tile : last;
        const uint16_t *outs = dy + (size_t)t * s->dy_step;
        for (size_t c = 0; c < cols; c += WORDS) {
            __m512i out[8];
            RW_UNROLL
            for (int r = 0; r < rows; r++)
                out[r] = words_at(outs + (size_t)r * tile + c);
            RW_UNROLL
            for (int k = 0; k < slots; k++) {
                __m512i in = words_at(from[k] + at + c);
                RW_UNROLL
                for (int r = 0; r < rows; r++)
                    sum[k * rows + r] = add_pairs(sum[k * rows + r], in, out[r]);
            }
        }
    }
    if (slots * rows % 8 == 0) {
        RW_UNROLL
        for (int i = 0; i < slots * rows; i += 8)
            f32x16_sum8(sum + i, grad + i, s->add);
    } else {
        RW_UNROLL
        for (int i = 0; i < slots * rows; i++)
            grad[i] = s->add ? grad[i] + f32x16_sum(sum[i]) : f32x16_sum(sum[i]);
    }
}

RW_INLINE void dw_groups(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                         const rw_span *span, const int64_t *first, float *grad, size_t tile,
                         size_t last, const int rows, const int slots)
{
    for (int32_t g = g0; g < g1; g++) {
        const int32_t *source = w->source + w->start[g];
        const uint16_t *dy = (const uint16_t *)span->dy + (size_t)g * (size_t)rows * tile;
        float *out = grad + first[g - g0] * rows;
        int32_t *at = p->at + (g - g0), k = *at, len = w->len[g], end = p->end;
        bool far = p->far && rw_can_look_ahead(w, g, len);
        if (p->slots && g + RW_ROWS_AHEAD < g1) {
            int32_t next = at[RW_ROWS_AHEAD];
            const float *values = grad + (first[g - g0 + RW_ROWS_AHEAD] + next) * rows;
            fetch_slots(w, g + RW_ROWS_AHEAD, next, p->slots, (uintptr_t)values,
                        rows * (int32_t)sizeof *values);
        }
        for (; k + slots <= len && source[k + slots - 1] < end; k += slots) {
            if (far)
                for (int32_t t = 0; t < span->n_tiles; t++)
                    for (int i = 0; i < slots; i++)
                        fetch_bytes((uintptr_t)((const uint16_t *)span->x + (size_t)t * span->x_step
                                                + (size_t)source[k + slots + i] * tile),
                                    (int32_t)(tile * sizeof(uint16_t)));
            dw_slots(source + k, span, dy, out + (size_t)k * (size_t)rows, tile, last, rows, slots);
        }
        if (slots > 1)
            for (; k < len && source[k] < end; k++)
                dw_slots(source + k, span, dy, out + (size_t)k * (size_t)rows, tile, last, rows, 1);
        *at = k;
    }
}

#define BF16_DW_OF(rows, slots)                                                                \
    RW_OUTLINE void bf16_dw_##rows(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p, \
                                   const rw_span *span, const int64_t *first, float *grad)     \
    {                                                                                          \
        if (span->tile == FULL && span->cols == FULL)                                          \
            dw_groups(w, g0, g1, p, span, first, grad, FULL, FULL, rows, slots);               \
        else                                                                                   \
            dw_groups(w, g0, g1, p, span, first, grad, (size_t)span->tile, (size_t)span->cols, \
                      rows, slots);                                                            \
    }
BF16_DW_OF(1, 8)
BF16_DW_OF(2, 8)
BF16_DW_OF(4, 4)
BF16_DW_OF(8, 2)

RW_KERNEL void bf16_dw(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                       const rw_span *span, const int64_t *first, void *grad)
{
    switch (w->group) {
    case 1: bf16_dw_1(w, g0, g1, p, span, first, grad); break;
    case 2: bf16_dw_2(w, g0, g1, p, span, first, grad); break;
    case 4: bf16_dw_4(w, g0, g1, p, span, first, grad); break;
    default: bf16_dw_8(w, g0, g1, p, span, first, grad); break;
    }
}

const rw_bf16_kernels rw_bf16_avx512 = {
    .tuning = &bf16_tuning, .narrow = bf16_narrow, .pair_slots = bf16_pair_slots, .pair_rows = bf16_pair_rows,
    .forward = bf16_forward, .dx_scatter = bf16_dx_scatter, .dw = bf16_dw
};

#endif
