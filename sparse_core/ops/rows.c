#include "ops/rows.h"

#include "base/mem.h"
#include "store/csr.h"

#include <string.h>

static size_t stride_of(ptrdiff_t stride)
{
    return stride < 0 ? 0 - (size_t)stride : (size_t)stride;
}

/* Does a stride step over n values that are `inner` bytes apart? */
static bool steps_over(size_t stride, size_t inner, int64_t n, size_t size)
{
    size_t reach;
    return inner >= size && rw_mul_size(inner, (size_t)(n - 1), &reach) &&
           rw_add_size(reach, size, &reach) && stride >= reach;
}

bool rw_out_is_plain(const rw_user_out *out, int64_t rows, int64_t columns, size_t size)
{
    RW_ASSERT(rows >= 1 && columns >= 1 && size >= 1);
    size_t down = stride_of(out->row_stride), across = stride_of(out->column_stride);
    if (rows == 1 || columns == 1)
        return (rows == 1 || down >= size) && (columns == 1 || across >= size);
    return steps_over(down, across, columns, size) || steps_over(across, down, rows, size);
}

/* --- scratch ---------------------------------------------------------------- */

/* Memory that is cut into aligned pieces; without memory, pieces are only counted. */
typedef struct {
    char *memory;
    size_t used;
    bool fits;
} scratch_cutter;

static void *cut_piece(scratch_cutter *c, size_t count, size_t size)
{
    size_t at = c->used, end = 0;
    c->fits = c->fits && rw_mul_size(count, size, &end) && rw_add_size(at, end, &end) &&
              rw_add_size(end, RW_ALIGNMENT - 1, &end);
    if (!c->fits)
        return NULL;
    c->used = end / RW_ALIGNMENT * RW_ALIGNMENT;
    return c->memory ? c->memory + at : NULL;
}

static void cut_tiles(scratch_cutter *c, rw_tiles *t, int64_t n, int64_t batch, int32_t tile,
                      rw_dtype dtype)
{
    size_t bytes = rw_tiles_bytes(n, batch, tile, dtype);
    c->fits = c->fits && bytes;
    void *data = cut_piece(c, bytes, 1);
    if (data)
        c->fits = rw_tiles_over(t, n, batch, tile, dtype, data, bytes) == RW_OK;
}

/* Samples that go through scratch at a time. Their tiles of inputs and outputs stay in the
 * second-level cache, but each thread has some. */
static int64_t samples_at_once(const rw_store *s, int64_t batch, int threads)
{
    rw_dtype dtype = s->field[RW_WEIGHT].dtype;
    int64_t tile = rw_tile_size(batch, dtype);
    int64_t bytes = tile * ((int64_t)s->n_in + s->n_out) * (int64_t)rw_dtype_size(dtype);
    int64_t tiles = rw_max64(1, RW_ROWS_BYTES / bytes);
    if (threads > 1)
        tiles = rw_max64(tiles, (int64_t)RW_ROWS_TILES * threads);
    return rw_min64(batch, tiles * tile);
}

typedef struct {
    rw_tiles in, out;
    char *bias;
} forward_scratch;

static bool cut_forward(scratch_cutter *c, forward_scratch *f, const rw_store *s, int64_t batch,
                        int threads)
{
    rw_dtype dtype = s->field[RW_WEIGHT].dtype;
    int32_t tile = rw_tile_size(batch, dtype);
    int64_t step = samples_at_once(s, batch, threads);
    cut_tiles(c, &f->in, s->n_in, step, tile, dtype);
    cut_tiles(c, &f->out, s->n_out, step, tile, dtype);
    f->bias = cut_piece(c, (size_t)s->n_out + RW_ROW_PAD, rw_dtype_size(dtype));
    return c->fits;
}

typedef struct {
    rw_tiles in, out;
    int64_t *before; /* slots of the groups before each */
} backward_scratch;

static bool cut_backward(scratch_cutter *c, backward_scratch *f, const rw_store *s, int64_t batch)
{
    rw_dtype dtype = s->field[RW_WEIGHT].dtype;
    int32_t tile = rw_tile_size(batch, dtype);
    cut_tiles(c, &f->in, s->n_in, batch, tile, dtype);
    cut_tiles(c, &f->out, s->n_out, batch, tile, dtype);
    f->before = cut_piece(c, (size_t)s->n_groups + 1, sizeof *f->before);
    return c->fits;
}

size_t rw_rows_forward_scratch(const rw_store *s, int64_t batch, int threads)
{
    RW_ASSERT(batch >= 1 && threads >= 1);
    scratch_cutter c = { .fits = true };
    forward_scratch f;
    return cut_forward(&c, &f, s, batch, threads) ? c.used : 0;
}

size_t rw_rows_backward_scratch(const rw_store *s, int64_t batch)
{
    RW_ASSERT(batch >= 1);
    scratch_cutter c = { .fits = true };
    backward_scratch f;
    return cut_backward(&c, &f, s, batch) ? c.used : 0;
}

/* --- passes ------------------------------------------------------------------- */

static rw_user_rows rows_from(const rw_user_rows *x, int64_t sample)
{
    rw_user_rows from = *x;
    if (x->rows)
        from.rows += sample;
    else
        from.x += sample * x->row_stride;
    return from;
}

static bool dtypes_fit(const rw_kernels *k, const rw_store *s)
{
    return s->field[RW_WEIGHT].dtype == k->dtype;
}

rw_status rw_rows_forward(const rw_kernels *k, const rw_store *s, const rw_user_rows *x,
                          int64_t batch, const void *bias, const rw_user_out *y, void *scratch,
                          size_t bytes, const rw_run *run)
{
    RW_ASSERT(rw_is_run(run) && x->x && y->data && scratch && rw_is_aligned(scratch));
    size_t need = rw_rows_forward_scratch(s, batch, run->threads);
    if (!dtypes_fit(k, s) || !need || need > bytes)
        return RW_ESHAPE;
    scratch_cutter c = { .memory = scratch, .fits = true };
    forward_scratch f;
    cut_forward(&c, &f, s, batch, run->threads);
    size_t size = rw_dtype_size(k->dtype), biases = (size_t)s->n_out * size;
    if (bias) {
        memcpy(f.bias, bias, biases);
        memset(f.bias + biases, 0, RW_ROW_PAD * size);
    }
    int64_t step = f.in.batch, work = 0;
    int32_t tile = f.in.tile;
    for (int64_t first = 0; first < batch; first += step) {
        if (work > (int64_t)RW_POLL_WORK * run->threads) { /* less than what a pass polls after */
            work = 0;
            if (run->poll && run->poll(run->arg))
                return RW_EINTR;
        }
        work += s->slots * s->group * step;
        int64_t samples = rw_min64(step, batch - first);
        if (first == 0 || samples < step) { /* else what is beyond them is zero already */
            rw_tiles_over(&f.in, s->n_in, samples, tile, k->dtype, f.in.data, f.in.bytes);
            rw_tiles_over(&f.out, s->n_out, samples, tile, k->dtype, f.out.data, f.out.bytes);
            rw_tiles_clear_padding(&f.in);
            rw_tiles_clear_padding(&f.out);
        }
        rw_user_rows from = rows_from(x, first);
        rw_tiles_pack(k, &f.in, &from, run->threads);
        rw_status status = rw_forward(k, s, &f.in, bias ? f.bias : NULL, RW_ACT_LINEAR, 0, &f.out,
                                      NULL, run);
        if (status != RW_OK)
            return status;
        rw_tiles_unpack(k, &f.out, y->data + first * y->row_stride, y->row_stride,
                        y->column_stride, run->threads);
    }
    return RW_OK;
}

rw_status rw_rows_backward(const rw_kernels *k, const rw_store *s, const rw_user_rows *x,
                           const rw_user_rows *g, int64_t batch, const rw_user_out *dx, void *dw,
                           void *dbias, void *scratch, size_t bytes, const rw_run *run)
{
    RW_ASSERT(rw_is_run(run) && g->x && scratch && rw_is_aligned(scratch) && (!dw || x->x));
    size_t need = rw_rows_backward_scratch(s, batch);
    if (!dtypes_fit(k, s) || !need || need > bytes)
        return RW_ESHAPE;
    scratch_cutter c = { .memory = scratch, .fits = true };
    backward_scratch f;
    cut_backward(&c, &f, s, batch);
    rw_tiles_clear_padding(&f.in);
    rw_tiles_clear_padding(&f.out);
    rw_tiles_pack(k, &f.out, g, run->threads);
    rw_status status = RW_OK;
    if (dw) {
        rw_csr_indptr(s, f.before);
        rw_tiles_pack(k, &f.in, x, run->threads);
        status = rw_packed_gradients(k, s, &f.in, &f.out, f.before, dw, run);
    }
    if (status == RW_OK && dbias)
        status = rw_bias_gradient(k, &f.out, dbias, false, run);
    if (status == RW_OK && dx) {
        status = rw_backward_input(k, s, &f.out, &f.in, run);
        if (status == RW_OK)
            rw_tiles_unpack(k, &f.in, dx->data, dx->row_stride, dx->column_stride, run->threads);
    }
    return status;
}
