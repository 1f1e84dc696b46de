/* kernels_switch.h -- blocks of two-sided switches: small matrices for both sides of zero.
 *
 * Included by kernels_element.h. Unlike the kernels there, these multiply and add in one rounding
 * where the instruction set does, in the order of kernels.h: a block's outputs are those of
 * a sparse layer over both sides, bit for bit. */

/* Samples that a block takes at a time, a bound of the stack: both sides of 8 rows are 8 KB. And
 * rows whose sums are in registers at once. */
#define RW_SWITCH_SAMPLES 64
#define RW_SWITCH_ROWS 4

typedef struct {
    RW_T up[8 * RW_SWITCH_SAMPLES], down[8 * RW_SWITCH_SAMPLES]; /* by row; whole registers */
} RW_E(both_sides);

/* max(x, 0) and min(x, 0) of some rows; a NaN is on both. */
RW_INLINE void RW_E(split_block)(const RW_T *rows_of_x, int32_t tile, int32_t rows, int32_t samples,
                                 RW_E(both_sides) *s)
{
    for (int32_t i = 0; i < rows; i++) {
        const RW_T *restrict x = rows_of_x + (size_t)i * (size_t)tile;
        RW_T *restrict up = s->up + i * RW_SWITCH_SAMPLES;
        RW_T *restrict down = s->down + i * RW_SWITCH_SAMPLES;
        RW_IVDEP
        for (int32_t b = 0; b < samples; b++) {
            up[b] = x[b] < 0 ? 0 : x[b];
            down[b] = x[b] > 0 ? 0 : x[b];
        }
        if (samples >= RW_WIDE_LANES)
            continue;
        for (int32_t b = 0; b < RW_WIDE_LANES; b++) {
            up[b] = b < samples ? up[b] : 0;
            down[b] = b < samples ? down[b] : 0;
        }
    }
}

/* Rows that can be read by whole registers: they themselves, `*apart` values from each other, or a
 * copy that is filled up with zeros. */
RW_INLINE const RW_T *RW_E(wide_block)(const RW_T *x, int32_t tile, int32_t rows, int32_t samples,
                                       RW_T *copy, int32_t *apart)
{
    *apart = samples >= RW_WIDE_LANES ? tile : RW_WIDE_LANES;
    if (samples >= RW_WIDE_LANES)
        return x;
    for (int32_t i = 0; i < rows; i++)
        for (int32_t b = 0; b < RW_WIDE_LANES; b++)
            copy[i * RW_WIDE_LANES + b] = b < samples ? x[(size_t)i * (size_t)tile + (size_t)b] : 0;
    return copy;
}

/* sums[r] += the sum over j of weight[r * down + j * along] * in[j], one register of each row;
 * rows of `in` are `apart` values from each other. */
RW_INLINE void RW_E(switch_sums)(const RW_T *weight, int32_t down, int32_t along, const RW_T *in,
                                 int32_t apart, int rows, int width, RW_WIDE *sums)
{
    RW_UNROLL
    for (int j = 0; j < width; j++) {
        RW_WIDE x = RW_V(load)(in + (size_t)j * (size_t)apart);
        RW_UNROLL
        for (int r = 0; r < rows; r++)
            sums[r] = RW_V(fma)(RW_V(set1)(weight[r * down + j * along]), x, sums[r]);
    }
}

/* A register of a row, of which `samples` from b on exist. */
RW_INLINE void RW_E(store_some)(RW_T *row, int32_t b, int32_t samples, RW_WIDE a)
{
    if (samples >= RW_WIDE_LANES) {
        RW_V(store)(row + b, a);
        return;
    }
    RW_T all[RW_WIDE_LANES];
    RW_V(store)(all, a);
    for (int32_t l = 0; l < samples; l++)
        row[l] = all[l];
}

RW_INLINE void RW_E(switch_forward)(const RW_T *x, const RW_T *weight, RW_T *y, int32_t blocks,
                                    int32_t tile, int width)
{
    int rows = width < RW_SWITCH_ROWS ? width : RW_SWITCH_ROWS;
    RW_E(both_sides) in;
    for (int32_t g = 0; g < blocks; g++, weight += 2 * width * width)
        for (int32_t first = 0; first < tile; first += RW_SWITCH_SAMPLES) {
            int32_t samples = tile - first < RW_SWITCH_SAMPLES ? tile - first : RW_SWITCH_SAMPLES;
            size_t at = (size_t)(g * width) * (size_t)tile + (size_t)first;
            RW_E(split_block)(x + at, tile, width, samples, &in);
            for (int r = 0; r < width; r += rows)
                for (int32_t b = 0; b < samples; b += RW_WIDE_LANES) {
                    RW_WIDE sums[RW_SWITCH_ROWS];
                    const RW_T *of = weight + 2 * r * width;
                    RW_UNROLL
                    for (int i = 0; i < rows; i++)
                        sums[i] = RW_V(zero)();
                    RW_E(switch_sums)(of, 2 * width, 1, in.up + b, RW_SWITCH_SAMPLES, rows, width,
                                      sums);
                    RW_E(switch_sums)(of + width, 2 * width, 1, in.down + b, RW_SWITCH_SAMPLES,
                                      rows, width, sums);
                    RW_UNROLL
                    for (int i = 0; i < rows; i++)
                        RW_E(store_some)(y + at + (size_t)(r + i) * (size_t)tile, b, samples,
                                         sums[i]);
                }
        }
}

RW_INLINE void RW_E(switch_back)(const RW_T *x, const RW_T *weight, const RW_T *dy, RW_T *dx,
                                 int32_t blocks, int32_t tile, int width)
{
    int rows = width < RW_SWITCH_ROWS ? width : RW_SWITCH_ROWS;
    RW_T copy[8 * RW_WIDE_LANES];
    RW_E(both_sides) out;
    for (int32_t g = 0; g < blocks; g++, weight += 2 * width * width)
        for (int32_t first = 0; first < tile; first += RW_SWITCH_SAMPLES) {
            int32_t samples = tile - first < RW_SWITCH_SAMPLES ? tile - first : RW_SWITCH_SAMPLES;
            size_t at = (size_t)(g * width) * (size_t)tile + (size_t)first;
            int32_t apart;
            const RW_T *in = RW_E(wide_block)(dy + at, tile, width, samples, copy, &apart);
            for (int r = 0; r < width; r += rows)
                for (int32_t b = 0; b < samples; b += RW_WIDE_LANES) {
                    RW_WIDE up[RW_SWITCH_ROWS], down[RW_SWITCH_ROWS];
                    RW_UNROLL
                    for (int i = 0; i < rows; i++)
                        up[i] = down[i] = RW_V(zero)();
                    RW_E(switch_sums)(weight + r, 1, 2 * width, in + b, apart, rows, width, up);
                    RW_E(switch_sums)(weight + width + r, 1, 2 * width, in + b, apart, rows,
                                      width, down);
                    RW_UNROLL
                    for (int i = 0; i < rows; i++) {
                        RW_V(store)(out.up + (r + i) * RW_SWITCH_SAMPLES + b, up[i]);
                        RW_V(store)(out.down + (r + i) * RW_SWITCH_SAMPLES + b, down[i]);
                    }
                }
            for (int i = 0; i < width; i++) {
                const RW_T *from = x + at + (size_t)i * (size_t)tile;
                const RW_T *up = out.up + i * RW_SWITCH_SAMPLES;
                const RW_T *down = out.down + i * RW_SWITCH_SAMPLES;
                RW_T *to = dx + at + (size_t)i * (size_t)tile;
                RW_IVDEP
                for (int32_t b = 0; b < samples; b++)
                    to[b] = from[b] > 0 ? up[b] : down[b];
            }
        }
}

/* The gradient of one block's matrix for one side: sums[r * width + i] += dy[r] . side[i]. */
RW_INLINE void RW_E(switch_products)(const RW_T *dy, int32_t apart, const RW_T *side,
                                     int32_t samples, int width, RW_WIDE *sums)
{
    for (int r = 0; r < width; r++, dy += apart, sums += width) {
        RW_WIDE acc[8];
        RW_UNROLL
        for (int i = 0; i < width; i++)
            acc[i] = sums[i];
        for (int32_t b = 0; b < samples; b += RW_WIDE_LANES) {
            RW_WIDE d = RW_V(load)(dy + b);
            RW_UNROLL
            for (int i = 0; i < width; i++)
                acc[i] = RW_V(fma)(d, RW_V(load)(side + i * RW_SWITCH_SAMPLES + b), acc[i]);
        }
        RW_UNROLL
        for (int i = 0; i < width; i++)
            sums[i] = acc[i];
    }
}

RW_INLINE void RW_E(switch_gradient)(const rw_span *span, RW_T *grad, int32_t blocks, int width)
{
    RW_E(both_sides) in;
    RW_T copy[8 * RW_WIDE_LANES];
    RW_WIDE up[64], down[64];
    int32_t tile = span->tile, apart;
    for (int32_t g = 0; g < blocks; g++) {
        for (int i = 0; i < width * width; i++)
            up[i] = down[i] = RW_V(zero)();
        for (int32_t t = 0; t < span->n_tiles; t++)
            for (int32_t first = 0; first < tile; first += RW_SWITCH_SAMPLES) {
                int32_t rest = tile - first;
                int32_t samples = rest < RW_SWITCH_SAMPLES ? rest : RW_SWITCH_SAMPLES;
                size_t at = (size_t)(g * width) * (size_t)tile + (size_t)first;
                const RW_T *x = (const RW_T *)span->x + (size_t)t * span->x_step + at;
                const RW_T *dy = (const RW_T *)span->dy + (size_t)t * span->dy_step + at;
                RW_E(split_block)(x, tile, width, samples, &in);
                dy = RW_E(wide_block)(dy, tile, width, samples, copy, &apart);
                RW_E(switch_products)(dy, apart, in.up, samples, width, up);
                RW_E(switch_products)(dy, apart, in.down, samples, width, down);
            }
        for (int r = 0; r < width; r++, grad += 2 * width)
            for (int i = 0; i < width; i++) {
                grad[i] = RW_V(sum)(up[r * width + i]);
                grad[width + i] = RW_V(sum)(down[r * width + i]);
            }
    }
}

/* Widths are constants of the loops. */
#define RW_SWITCH_WIDTHS(kernel, arguments)          \
    do {                                             \
        if (width == 4)                              \
            RW_E(kernel) RW_SWITCH_WITH(arguments, 4); \
        else if (width == 2)                         \
            RW_E(kernel) RW_SWITCH_WITH(arguments, 2); \
        else if (width == 8)                         \
            RW_E(kernel) RW_SWITCH_WITH(arguments, 8); \
        else                                         \
            RW_E(kernel) RW_SWITCH_WITH(arguments, 1); \
    } while (0)
#define RW_SWITCH_WITH(arguments, width) (RW_SWITCH_GIVEN arguments, width)
#define RW_SWITCH_GIVEN(...) __VA_ARGS__

RW_KERNEL void RW_E(switches)(const void *x, const void *weight, void *y, int32_t blocks,
                              int32_t width, int32_t tile, int32_t live)
{
    RW_SWITCH_WIDTHS(switch_forward, (x, weight, y, blocks, tile));
    RW_E(clear_tail)(y, blocks * width, tile, live);
}

RW_KERNEL void RW_E(switches_back)(const void *x, const void *weight, const void *dy, void *dx,
                                   int32_t blocks, int32_t width, int32_t tile, int32_t live)
{
    RW_SWITCH_WIDTHS(switch_back, (x, weight, dy, dx, blocks, tile));
    RW_E(clear_tail)(dx, blocks * width, tile, live);
}

RW_KERNEL void RW_E(switches_gradient)(const rw_span *span, void *gradient, int32_t blocks,
                                       int32_t width)
{
    RW_SWITCH_WIDTHS(switch_gradient, (span, gradient, blocks));
}

#undef RW_SWITCH_GIVEN
#undef RW_SWITCH_WITH
#undef RW_SWITCH_WIDTHS
#undef RW_SWITCH_ROWS
#undef RW_SWITCH_SAMPLES
