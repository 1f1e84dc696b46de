/* kernels_pack.h -- users' numbers into tiles and back (included by kernels_element.h).
 *
 * Users' values are converted where they are neighbours: features of a sample in C order, samples
 * of a feature in Fortran order. What is neighbours the wrong way is turned over by squares of
 * registers (kernels_turn.h), which come from users' memory itself where nothing is to be
 * converted. No value depends on the way. Users' values need not be aligned. */

#define RW_RUN 16          /* values gathered before they are converted */
#define RW_PACK_PIECE 128  /* features converted before they are turned over: a bound of the stack, */
#define RW_PACK_SAMPLES 16 /* and samples: a cache line of floats in a tile, 8 KB in all            */
#define RW_PACK_ROWS 64    /* samples whose addresses are listed: a bound of the stack              */

/* --- conversion ------------------------------------------------------------- */

/* A user's numbers, at any address. */
#if defined(__GNUC__)
#define RW_ANYWHERE __attribute__((aligned(1), may_alias))
#else
#define RW_ANYWHERE
#endif

/* n values, `stride` bytes apart; where `rows` is given, value k is rows[k] strides away. */
#define RW_CONVERT(name, FROM, TO, READ)                                                        \
    RW_INLINE void RW_E(name##_beside)(const void *from, int32_t n, TO *restrict to)            \
    {                                                                                           \
        typedef FROM users RW_ANYWHERE;                                                         \
        const users *restrict v = from;                                                         \
        READ(TO, v, n, to)                                                                      \
    }                                                                                           \
    RW_KERNEL void RW_E(name)(const char *from, ptrdiff_t stride, const int64_t *rows, int32_t n, \
                              TO *to)                                                           \
    {                                                                                           \
        if (!rows && stride == (ptrdiff_t)sizeof(FROM)) {                                       \
            RW_E(name##_beside)(from, n, to);                                                   \
            return;                                                                             \
        }                                                                                       \
        FROM v[RW_RUN] = { 0 };                                                                 \
        for (int32_t k = 0; k < n; k += RW_RUN) {                                               \
            int32_t count = (int32_t)rw_min64(RW_RUN, n - k);                                   \
            for (int32_t i = 0; i < count; i++)                                                 \
                memcpy(&v[i], from + (rows ? rows[k + i] : k + i) * stride, sizeof v[0]);       \
            RW_E(name##_beside)(v, count, to + k);                                              \
        }                                                                                       \
    }

#define RW_READ(TO, v, n, to)         \
    for (int32_t i = 0; i < (n); i++) \
        (to)[i] = (TO)(v)[i];

#define RW_READ_BOOL(TO, v, n, to)    \
    for (int32_t i = 0; i < (n); i++) \
        (to)[i] = (TO)((v)[i] != 0);

/* Not every instruction set converts integers of 64 bits. Those that 52 bits hold, with their sign,
 * become the fraction of a double between 2^52 and 2^53: exact, so the same bits. */
#define RW_BITS_OF_2_52 (UINT64_C(0x433) << 52)
#define RW_READ_I64(TO, v, n, to)                                                  \
    const uint64_t half = UINT64_C(1) << 51, exponent = RW_BITS_OF_2_52;           \
    int32_t k = 0;                                                                 \
    for (; k + RW_RUN <= (n); k += RW_RUN) {                                       \
        uint64_t bits[RW_RUN], beyond = 0;                                         \
        double exact[RW_RUN];                                                      \
        memcpy(bits, (v) + k, sizeof bits);                                        \
        for (int32_t i = 0; i < RW_RUN; i++) {                                     \
            bits[i] += half;                                                       \
            beyond |= bits[i] >> 52;                                               \
            bits[i] |= exponent;                                                   \
        }                                                                          \
        memcpy(exact, bits, sizeof exact);                                         \
        for (int32_t i = 0; i < RW_RUN; i++)                                       \
            (to)[k + i] = (TO)(exact[i] - 0x1.8p52);                               \
        if (beyond)                                                                \
            RW_READ(TO, (v) + k, RW_RUN, (to) + k)                                 \
    }                                                                              \
    RW_READ(TO, (v) + k, (n) - k, (to) + k)

#define RW_CONVERT_ALL(to_, TO)                               \
    RW_CONVERT(to_##f32, float, TO, RW_READ)                  \
    RW_CONVERT(to_##f64, double, TO, RW_READ)                 \
    RW_CONVERT(to_##u8, uint8_t, TO, RW_READ)                 \
    RW_CONVERT(to_##i8, int8_t, TO, RW_READ)                  \
    RW_CONVERT(to_##u16, uint16_t, TO, RW_READ)               \
    RW_CONVERT(to_##i16, int16_t, TO, RW_READ)                \
    RW_CONVERT(to_##i32, int32_t, TO, RW_READ)                \
    RW_CONVERT(to_##i64, int64_t, TO, RW_READ_I64)            \
    RW_CONVERT(to_##bool, uint8_t, TO, RW_READ_BOOL)

#define RW_CONVERTERS(to_)                                                                 \
    { RW_E(to_##f32), RW_E(to_##f64), RW_E(to_##u8), RW_E(to_##i8), RW_E(to_##u16),        \
      RW_E(to_##i16), RW_E(to_##i32), RW_E(to_##i64), RW_E(to_##bool) } /* by rw_input */

RW_CONVERT_ALL(value_, RW_T)
typedef void (*RW_E(converter))(const char *, ptrdiff_t, const int64_t *, int32_t, RW_T *);
static const RW_E(converter) RW_E(converters)[] = RW_CONVERTERS(value_);

/* Standardising is in double precision, whatever comes of it. */
#if RW_DTYPE_BITS == 32
RW_CONVERT_ALL(wide_, double)
typedef void (*RW_E(widener))(const char *, ptrdiff_t, const int64_t *, int32_t, double *);
static const RW_E(widener) RW_E(wideners)[] = RW_CONVERTERS(wide_);
#else
#define RW_WIDENS_ITSELF
#endif

RW_INLINE void RW_E(widen)(const rw_user_rows *in, const char *from, ptrdiff_t stride,
                           const int64_t *rows, int32_t n, double *to)
{
#ifdef RW_WIDENS_ITSELF
    RW_E(converters)[in->kind](from, stride, rows, n, to);
#else
    RW_E(wideners)[in->kind](from, stride, rows, n, to);
#endif
}

/* Does a value of the working precision hold each of this kind? Then users' values are turned over as
 * they are, and standardised feature by feature, which takes two numbers a feature, not a sample. */
RW_INLINE bool RW_E(holds)(rw_input kind)
{
    bool wide = kind == RW_IN_F64 || kind == RW_IN_I32;
    return kind != RW_IN_I64 && (!wide || sizeof(RW_T) == sizeof(double));
}

/* `live` samples of features [i0, i1), which are in the tile. */
RW_INLINE void RW_E(standardise)(const rw_user_rows *in, int32_t live, int32_t i0, int32_t i1, RW_T *to,
                                 int32_t tile)
{
    for (int32_t i = i0; i < i1; i++, to += tile) {
        double mean = in->mean[i], scale = in->scale[i];
        for (int32_t b = 0; b < live; b++)
            to[b] = (RW_T)(((double)to[b] - mean) * scale);
    }
}

/* At most RW_PACK_PIECE features of a sample, from feature i on. */
RW_INLINE void RW_E(pack_features)(const rw_user_rows *in, const char *from, int32_t i, int32_t n,
                                   RW_T *to)
{
    double wide[RW_PACK_PIECE];
    if (!in->mean) {
        RW_E(converters)[in->kind](from, in->column_stride, NULL, n, to);
        return;
    }
    const double *restrict mean = in->mean + i, *restrict scale = in->scale + i;
    RW_T *restrict out = to;
    RW_E(widen)(in, from, in->column_stride, NULL, n, wide);
    for (int32_t k = 0; k < n; k++)
        out[k] = (RW_T)((wide[k] - mean[k]) * scale[k]);
}

/* `live` samples of feature i. */
RW_INLINE void RW_E(pack_samples)(const rw_user_rows *in, int64_t sample, int32_t live, int32_t i,
                                  RW_T *to)
{
    double wide[RW_PACK_PIECE];
    for (int32_t b = 0; b < live; b += RW_PACK_PIECE, sample += RW_PACK_PIECE) {
        int32_t n = (int32_t)rw_min64(RW_PACK_PIECE, live - b);
        const int64_t *rows = in->rows ? in->rows + sample : NULL;
        const char *from = in->x + i * in->column_stride + (rows ? 0 : sample * in->row_stride);
        if (!in->mean) {
            RW_E(converters)[in->kind](from, in->row_stride, rows, n, to + b);
            continue;
        }
        RW_E(widen)(in, from, in->row_stride, rows, n, wide);
        for (int32_t k = 0; k < n; k++)
            to[b + k] = (RW_T)((wide[k] - in->mean[i]) * in->scale[i]);
    }
}

/* --- there -------------------------------------------------------------------- */

RW_KERNEL void RW_E(turn_in)(char *const *sample, int32_t m, int32_t n, RW_T *to, int32_t tile)
{
    RW_DISPATCH(m < n ? m : n, turn_in, (sample, m, n, (char *)to, (size_t)tile));
}

/* Ask for features [i, i + n) of some samples, before they are converted: rows of a batch are drawn at
 * random, and no hardware foresees the next one. Not where a line has few of them: to ask for each takes
 * more than it saves. */
RW_INLINE void RW_E(fetch_samples)(const rw_user_rows *in, char *const *sample, int32_t m, int32_t i,
                                   int32_t n)
{
    const ptrdiff_t stride = in->column_stride;
    if (stride <= 0 || stride > (ptrdiff_t)sizeof(float))
        return;
    for (int32_t b = 0; b < m; b++) {
        const char *at = sample[b] + i * stride;
        for (ptrdiff_t byte = 0; byte < n * stride; byte += RW_LINE)
            RW_PREFETCH(at + byte);
    }
}

/* Samples whose addresses are `sample`, features [i0, i1), by way of a few converted lines. */
RW_KERNEL void RW_E(pack_lines)(const rw_user_rows *in, char *const *sample, int32_t m, int32_t i0,
                                int32_t i1, RW_T *to, int32_t tile)
{
    RW_T line[RW_PACK_SAMPLES][RW_PACK_PIECE];
    char *lines[RW_PACK_SAMPLES];
    for (int32_t b = 0; b < RW_PACK_SAMPLES; b++)
        lines[b] = (char *)line[b];
    for (int32_t b0 = 0; b0 < m; b0 += RW_PACK_SAMPLES) {
        int32_t side = (int32_t)rw_min64(RW_PACK_SAMPLES, m - b0);
        for (int32_t i = i0; i < i1; i += RW_PACK_PIECE) {
            int32_t n = (int32_t)rw_min64(RW_PACK_PIECE, i1 - i);
            int32_t more = (int32_t)rw_min64(RW_PACK_SAMPLES, m - b0 - side);
            if (more > 0) /* else the first samples again, whose next features are packed next */
                RW_E(fetch_samples)(in, sample + b0 + side, more, i, n);
            else
                RW_E(fetch_samples)(in, sample, (int32_t)rw_min64(RW_PACK_SAMPLES, m), i + n, n);
            for (int32_t b = 0; b < side; b++)
                RW_E(pack_features)(in, sample[b0 + b] + i * in->column_stride, i, n, line[b]);
            RW_E(turn_in)(lines, side, n, to + (size_t)(i - i0) * (size_t)tile + b0, tile);
        }
    }
}

static const char *RW_E(address)(const rw_user_rows *in, int64_t sample)
{
    return in->x + (in->rows ? in->rows[sample] : sample) * in->row_stride;
}

static ptrdiff_t RW_E(magnitude)(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

RW_KERNEL void RW_E(pack_plainly)(const rw_user_rows *in, int64_t sample, int32_t live, int32_t i0,
                                  int32_t i1, RW_T *to, int32_t tile)
{
    ptrdiff_t down = RW_E(magnitude)(in->row_stride), across = RW_E(magnitude)(in->column_stride);
    if (tile == 1) {
        for (int32_t i = i0; i < i1; i += RW_PACK_PIECE)
            RW_E(pack_features)(in, RW_E(address)(in, sample) + i * in->column_stride, i,
                                (int32_t)rw_min64(RW_PACK_PIECE, i1 - i), to + (i - i0));
        return;
    }
    if (down < across) {
        for (int32_t i = i0; i < i1; i++, to += tile)
            RW_E(pack_samples)(in, sample, live, i, to);
        return;
    }
    bool as_it_is = in->kind == RW_OWN_INPUT && across == sizeof(RW_T) && in->column_stride > 0
                 && !in->mean;
    char *rows[RW_PACK_ROWS];
    for (int32_t b0 = 0; b0 < live; b0 += RW_PACK_ROWS) {
        int32_t m = (int32_t)rw_min64(RW_PACK_ROWS, live - b0);
        ptrdiff_t first = as_it_is ? i0 * in->column_stride : 0;
        for (int32_t b = 0; b < m; b++)
            rows[b] = (char *)(uintptr_t)(RW_E(address)(in, sample + b0 + b) + first);
        if (as_it_is)
            RW_E(turn_in)(rows, m, i1 - i0, to + b0, tile);
        else
            RW_E(pack_lines)(in, rows, m, i0, i1, to + b0, tile);
    }
}

RW_KERNEL void RW_E(pack)(const rw_user_rows *in, int64_t sample, int32_t live, int32_t i0,
                          int32_t i1, void *out, int32_t tile)
{
    if (!in->mean || tile == 1 || !RW_E(holds)(in->kind)) {
        RW_E(pack_plainly)(in, sample, live, i0, i1, out, tile);
        return;
    }
    rw_user_rows plain = *in;
    plain.mean = plain.scale = NULL;
    RW_E(pack_plainly)(&plain, sample, live, i0, i1, out, tile);
    RW_E(standardise)(in, live, i0, i1, out, tile);
}

/* --- and back ------------------------------------------------------------------- */

RW_KERNEL void RW_E(turn_out)(const RW_T *from, int32_t tile, int32_t m, int32_t n,
                              char *const *sample)
{
    RW_DISPATCH(m < n ? m : n, turn_out, (sample, m, n, (char *)(uintptr_t)from, (size_t)tile));
}

RW_KERNEL void RW_E(unpack)(const void *tiles, int32_t tile, int32_t live, int32_t n, char *out,
                            ptrdiff_t row_stride, ptrdiff_t column_stride)
{
    const RW_T *from = tiles;
    const ptrdiff_t size = sizeof(RW_T);
    if (tile == 1 && column_stride == size) {
        memcpy(out, from, (size_t)n * sizeof(RW_T));
    } else if (column_stride == size) {
        char *rows[RW_PACK_ROWS];
        for (int32_t b0 = 0; b0 < live; b0 += RW_PACK_ROWS) {
            int32_t m = (int32_t)rw_min64(RW_PACK_ROWS, live - b0);
            for (int32_t b = 0; b < m; b++)
                rows[b] = out + (b0 + b) * row_stride;
            RW_E(turn_out)(from + b0, tile, m, n, rows);
        }
    } else if (row_stride == size) {
        for (int32_t i = 0; i < n; i++, from += tile)
            memcpy(out + i * column_stride, from, (size_t)live * sizeof(RW_T));
    } else {
        for (int32_t i = 0; i < n; i++, from += tile)
            for (int32_t b = 0; b < live; b++)
                memcpy(out + b * row_stride + i * column_stride, &from[b], sizeof(RW_T));
    }
}

#undef RW_RUN
#undef RW_ANYWHERE
#undef RW_PACK_PIECE
#undef RW_PACK_SAMPLES
#undef RW_PACK_ROWS
#undef RW_CONVERT
#undef RW_READ
#undef RW_READ_BOOL
#undef RW_READ_I64
#undef RW_BITS_OF_2_52
#undef RW_CONVERT_ALL
#undef RW_CONVERTERS
#undef RW_WIDENS_ITSELF
