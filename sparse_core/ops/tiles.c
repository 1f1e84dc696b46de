#include "ops/tiles.h"

#include "base/mem.h"
#include "base/par.h"
#include "base/tuning.h"

#include <string.h>

/* Features of unsorted CSR rows that are summed at a time: a bound of the stack, 2 KB. */
enum { WINDOW = 256 };

/* `n` rounded up to whole pads; 0 when it is out of range, which ends short of INT32_MAX so that a
 * block's end is a number too. */
static int64_t rows_of(int64_t n)
{
    return n < 1 || n > INT32_MAX - WINDOW ? 0 : (n + RW_ROW_PAD - 1) / RW_ROW_PAD * RW_ROW_PAD;
}

size_t rw_tiles_bytes(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype)
{
    int64_t rows = rows_of(n);
    if (!rows || batch < 1 || tile < 1 || tile > RW_MAX_TILE || (tile & (tile - 1)) != 0
        || batch > INT64_MAX - tile || !rw_is_tile_dtype(dtype))
        return 0;
    size_t n_tiles = (size_t)((batch + tile - 1) / tile), bytes;
    return rw_mul_size(n_tiles, (size_t)rows, &bytes) &&
           rw_mul_size(bytes, (size_t)tile, &bytes) &&
           rw_mul_size(bytes, rw_dtype_size(dtype), &bytes) ? bytes : 0;
}

static rw_tiles tiles_at(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype, void *data,
                         size_t bytes)
{
    return (rw_tiles){ .n = (int32_t)n, .rows = (int32_t)rows_of(n), .tile = tile, .batch = batch,
                       .n_tiles = (batch + tile - 1) / tile, .dtype = dtype, .bytes = bytes,
                       .data = data };
}

rw_tiles *rw_tiles_new(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype)
{
    size_t bytes = rw_tiles_bytes(n, batch, tile, dtype);
    rw_tiles *t = bytes ? rw_calloc(sizeof *t) : NULL;
    if (!t)
        return NULL;
    *t = tiles_at(n, batch, tile, dtype, rw_calloc(bytes), bytes);
    if (!t->data) {
        rw_free(t, sizeof *t);
        return NULL;
    }
    return t;
}

rw_status rw_tiles_over(rw_tiles *t, int64_t n, int64_t batch, int32_t tile, rw_dtype dtype,
                        void *data, size_t bytes)
{
    size_t need = rw_tiles_bytes(n, batch, tile, dtype);
    if (!need || need > bytes || !data || !rw_is_aligned(data))
        return RW_ESHAPE;
    *t = tiles_at(n, batch, tile, dtype, data, bytes);
    t->foreign = true;
    return RW_OK;
}

/* What lies in every tile behind the last feature, and in the last tile behind each feature's last
 * sample. */
typedef bool (*padding_run)(char *at, size_t bytes);

/* Until a run says no. */
static bool each_padding(const rw_tiles *t, padding_run run)
{
    size_t size = rw_dtype_size(t->dtype), row = (size_t)t->tile * size;
    size_t live = (size_t)rw_tile_live(t, t->n_tiles - 1) * size;
    char *last = rw_tile_at(t, t->n_tiles - 1);
    bool all = true;
    if (t->n < t->rows)
        for (int64_t tile = 0; tile < t->n_tiles && all; tile++)
            all = run(rw_tile_at(t, tile) + (size_t)t->n * row, (size_t)(t->rows - t->n) * row);
    if (live < row)
        for (int32_t i = 0; i < t->n && all; i++)
            all = run(last + (size_t)i * row + live, row - live);
    return all;
}

static bool clear_run(char *at, size_t bytes)
{
    memset(at, 0, bytes);
    return true;
}

static bool is_clear(char *at, size_t bytes)
{
    char any = 0;
    for (size_t i = 0; i < bytes; i++)
        any |= at[i];
    return !any;
}

void rw_tiles_clear_padding(rw_tiles *t)
{
    RW_ASSERT(rw_is_tiles(t));
    each_padding(t, clear_run);
}

bool rw_tiles_padding_is_clear(const rw_tiles *t)
{
    RW_ASSERT(rw_is_tiles(t));
    return each_padding(t, is_clear);
}

void rw_tiles_free(rw_tiles *t)
{
    if (!t)
        return;
    RW_ASSERT(!t->foreign);
    rw_free(t->data, t->bytes);
    rw_free(t, sizeof *t);
}

rw_status rw_tiles_shape(rw_tiles *t, int64_t batch, int32_t tile)
{
    RW_ASSERT(rw_is_tiles(t));
    size_t need = rw_tiles_bytes(t->n, batch, tile, t->dtype);
    if (!need || need > t->bytes)
        return RW_ESHAPE;
    if (batch == t->batch && tile == t->tile)
        return RW_OK;
    if (t->foreign)
        return RW_ESHAPE;
    t->batch = batch;
    t->tile = tile;
    t->n_tiles = (batch + tile - 1) / tile;
    memset(t->data, 0, need);
    return RW_OK;
}

/* --- tasks: blocks of features of one tile --------------------------------- */

typedef struct {
    int64_t blocks; /* of RW_PACK_TASK_FEATURES, in a tile */
    int64_t count;  /* tasks                       */
    int threads;
} pack_cut;

static pack_cut pack_cut_of(const rw_tiles *t, int threads)
{
    int64_t blocks = (t->n + RW_PACK_TASK_FEATURES - 1) / RW_PACK_TASK_FEATURES;
    return (pack_cut){ blocks, blocks * t->n_tiles, rw_threads_for(threads, t->batch * t->n) };
}

/* One task: features [i0, i1) of the `live` samples from `sample` on; `at` is
 * the value of feature i0 and the tile's first sample. */
typedef struct {
    int64_t sample;
    int32_t i0, i1, live, tile;
    char *at;
} patch;

static patch patch_of(const rw_tiles *t, pack_cut all, int64_t task)
{
    int64_t tile = task / all.blocks;
    int32_t i0 = (int32_t)(task % all.blocks) * RW_PACK_TASK_FEATURES;
    size_t offset = (size_t)i0 * (size_t)t->tile * rw_dtype_size(t->dtype);
    return (patch){ tile * t->tile, i0, (int32_t)rw_min64(i0 + RW_PACK_TASK_FEATURES, t->n),
                    rw_tile_live(t, tile), t->tile, rw_tile_at(t, tile) + offset };
}

/* --- arrays ---------------------------------------------------------------- */

typedef struct {
    const rw_kernels *k;
    rw_tiles *t;
    pack_cut all;
    const rw_user_rows *in;
} packing;

static void pack_task(const void *arg, int64_t task)
{
    const packing *j = arg;
    patch p = patch_of(j->t, j->all, task);
    j->k->pack(j->in, p.sample, p.live, p.i0, p.i1, p.at, p.tile);
}

void rw_tiles_pack(const rw_kernels *k, rw_tiles *t, const rw_user_rows *in, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && k->dtype == t->dtype && threads >= 1);
    RW_ASSERT(in->kind >= RW_IN_F32 && in->kind <= RW_IN_BOOL && in->x && !in->mean == !in->scale);
    const packing job = { k, t, pack_cut_of(t, threads), in };
    rw_parallel_tasks(job.all.threads, job.all.count, pack_task, &job);
}

typedef struct {
    const rw_kernels *k;
    const rw_tiles *t;
    pack_cut all;
    char *out;
    ptrdiff_t row_stride, column_stride;
} unpacking;

static void unpack_task(const void *arg, int64_t task)
{
    const unpacking *j = arg;
    patch p = patch_of(j->t, j->all, task);
    j->k->unpack(p.at, p.tile, p.live, p.i1 - p.i0,
                 j->out + p.sample * j->row_stride + p.i0 * j->column_stride, j->row_stride,
                 j->column_stride);
}

void rw_tiles_unpack(const rw_kernels *k, const rw_tiles *t, char *out, ptrdiff_t row_stride,
                     ptrdiff_t column_stride, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && k->dtype == t->dtype && out && threads >= 1);
    const unpacking job = { k, t, pack_cut_of(t, threads), out, row_stride, column_stride };
    rw_parallel_tasks(job.all.threads, job.all.count, unpack_task, &job);
}

/* An exponent of all ones is an infinity or a NaN. */
#define EXPONENT_F32 UINT32_C(0x7f800000)
#define EXPONENT_F64 UINT64_C(0x7ff0000000000000)
#define STRANGE(name, WORD, EXPONENT)                            \
    static bool name(const char *values, size_t n)               \
    {                                                            \
        WORD found = 0, v;                                       \
        for (size_t i = 0; i < n; i++) {                         \
            memcpy(&v, values + i * sizeof v, sizeof v);         \
            found |= (v & EXPONENT) == EXPONENT ? 1 : 0;         \
        }                                                        \
        return found != 0;                                       \
    }

STRANGE(strange_f32, uint32_t, EXPONENT_F32)
STRANGE(strange_f64, uint64_t, EXPONENT_F64)

bool rw_tiles_finite(const rw_tiles *t, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && threads >= 1);
    int64_t strange = 0;
    threads = rw_threads_for(threads, t->n_tiles * t->n * t->tile);
    (void)threads; /* without OpenMP */
    RW_PARALLEL_FOR(threads)
    for (int64_t tile = 0; tile < t->n_tiles; tile++) { /* padding is zero */
        const char *values = rw_tile_at(t, tile);
        size_t n = (size_t)t->n * (size_t)t->tile;
        if (t->dtype == RW_F32 ? strange_f32(values, n) : strange_f64(values, n)) {
            int64_t before;
            RW_ATOMIC_CAPTURE
            before = strange++;
            (void)before;
        }
    }
    return strange == 0;
}

/* --- CSR ------------------------------------------------------------------- */

typedef struct {
    rw_dtype kind;
    const int64_t *indptr;
    const int32_t *columns;
    const char *values;
    int64_t entries;
    const int64_t *rows;
    const double *mean, *scale;
} csr_rows;

bool rw_csr_row(const int64_t *indptr, int64_t row, int64_t entries, int64_t *begin, int64_t *end)
{
    *begin = rw_read_int64(indptr + row);
    *end = rw_read_int64(indptr + row + 1);
    return *begin >= 0 && *end <= entries;
}

bool rw_csr_in_range(const int64_t *indptr, const int32_t *columns, int64_t entries,
                     const int64_t *rows, int64_t batch, int32_t n)
{
    for (int64_t b = 0; b < batch; b++) {
        int64_t e, end;
        if (!rw_csr_row(indptr, rows ? rows[b] : b, entries, &e, &end))
            return false;
        for (; e < end; e++) {
            int32_t i = rw_read_int32(columns + e);
            if (i < 0 || i >= n)
                return false;
        }
    }
    return true;
}

static double csr_value(const csr_rows *in, int64_t e)
{
    if (in->kind == RW_F32) {
        float v;
        memcpy(&v, in->values + e * (int64_t)sizeof v, sizeof v);
        return (double)v;
    }
    double v;
    memcpy(&v, in->values + e * (int64_t)sizeof v, sizeof v);
    return v;
}

static void put(const rw_tiles *t, char *at, int32_t i, int32_t b, double v)
{
    size_t place = (size_t)i * (size_t)t->tile + (size_t)b;
    if (t->dtype == RW_F32)
        ((float *)(void *)at)[place] = (float)v;
    else
        ((double *)(void *)at)[place] = v;
}

static double standard(const csr_rows *in, int32_t i, double v)
{
    return in->mean ? (v - in->mean[i]) * in->scale[i] : v;
}

/* Entries [e, end) of sample b, columns ascending: equal ones are neighbours. */
static void put_sorted(const rw_tiles *t, const csr_rows *in, int64_t e, int64_t end, char *at,
                       int32_t b)
{
    while (e < end) {
        int32_t i = rw_read_int32(in->columns + e);
        double sum = csr_value(in, e);
        for (e++; e < end && rw_read_int32(in->columns + e) == i; e++)
            sum += csr_value(in, e);
        if (i >= 0 && i < t->n)
            put(t, at, i, b, standard(in, i, sum));
    }
}

/* Columns in any order: sum over a window of features at a time. */
static void put_unsorted(const rw_tiles *t, const csr_rows *in, int64_t e0, int64_t end, char *at,
                         int32_t b)
{
    for (int32_t i0 = 0; i0 < t->n; i0 += WINDOW) {
        int32_t end_i = (int32_t)rw_min64(t->n, (int64_t)i0 + WINDOW);
        double sum[WINDOW] = { 0 };
        bool seen[WINDOW] = { false };
        for (int64_t e = e0; e < end; e++) {
            int32_t column = rw_read_int32(in->columns + e);
            if (column < i0 || column >= end_i)
                continue;
            int32_t i = column - i0;
            sum[i] = seen[i] ? sum[i] + csr_value(in, e) : csr_value(in, e);
            seen[i] = true;
        }
        for (int32_t i = 0; i < end_i - i0; i++)
            if (seen[i])
                put(t, at, i0 + i, b, standard(in, i0 + i, sum[i]));
    }
}

static void pack_csr_tile(const rw_tiles *t, const csr_rows *in, int64_t tile)
{
    char *at = rw_tile_at(t, tile);
    int32_t live = rw_tile_live(t, tile);
    if (!in->mean) {
        memset(at, 0, (size_t)t->n * (size_t)t->tile * rw_dtype_size(t->dtype));
    } else {
        for (int32_t i = 0; i < t->n; i++)
            for (int32_t b = 0; b < live; b++)
                put(t, at, i, b, standard(in, i, 0.0));
    }
    for (int32_t b = 0; b < live; b++) {
        int64_t sample = tile * t->tile + b, e, end;
        if (!rw_csr_row(in->indptr, in->rows ? in->rows[sample] : sample, in->entries, &e, &end))
            continue;
        bool sorted = true;
        for (int64_t next = e + 1; next < end && sorted; next++)
            sorted = in->columns[next - 1] <= in->columns[next];
        if (sorted)
            put_sorted(t, in, e, end, at, b);
        else
            put_unsorted(t, in, e, end, at, b);
    }
}

typedef struct {
    rw_tiles *t;
    csr_rows in;
} csr_job;

static void pack_csr_task(const void *arg, int64_t tile)
{
    const csr_job *job = arg;
    pack_csr_tile(job->t, &job->in, tile);
}

void rw_tiles_pack_csr(rw_tiles *t, rw_dtype kind, const int64_t *indptr, const int32_t *columns,
                       const char *values, int64_t entries, const int64_t *rows, const double *mean,
                       const double *scale, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && (kind == RW_F32 || kind == RW_F64) && threads >= 1);
    RW_ASSERT(indptr && !mean == !scale);
    const csr_job job = { t, { kind, indptr, columns, values, entries, rows, mean, scale } };
    rw_parallel_tasks(rw_threads_for(threads, t->batch * t->n), t->n_tiles, pack_csr_task, &job);
}
