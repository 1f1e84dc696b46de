#include "ops/tiles.h"

#include "base/mem.h"
#include "base/par.h"
#include "base/tuning.h"

#include <string.h>

_Static_assert(RW_PACK_TASK_FEATURES % RW_PACK_FEATURES == 0, "tasks take whole blocks");
/* Features of unsorted CSR rows that are summed at a time: a bound of the stack, 2 KB. */
enum { WINDOW = 256 };

/* Bytes of tiles for `batch` samples; false when a number is out of range. */
static bool tiles_bytes(int64_t rows, int64_t batch, int32_t tile, rw_dtype dtype, size_t *bytes)
{
    if (batch < 1 || tile < 1 || tile > RW_MAX_TILE || (tile & (tile - 1)) != 0
        || batch > INT64_MAX - tile)
        return false;
    size_t n_tiles = (size_t)((batch + tile - 1) / tile), values;
    return rw_mul_size(n_tiles, (size_t)rows, &values) &&
           rw_mul_size(values, (size_t)tile, &values) &&
           rw_mul_size(values, rw_dtype_size(dtype), bytes);
}

rw_tiles *rw_tiles_new(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype)
{
    size_t bytes;
    /* Short of INT32_MAX, so that a block's end is a number too. */
    if (n < 1 || n > INT32_MAX - WINDOW || (dtype != RW_F32 && dtype != RW_F64))
        return NULL;
    int64_t rows = (n + RW_ROW_PAD - 1) / RW_ROW_PAD * RW_ROW_PAD;
    if (!tiles_bytes(rows, batch, tile, dtype, &bytes))
        return NULL;
    rw_tiles *t = rw_calloc(sizeof *t);
    if (!t)
        return NULL;
    *t = (rw_tiles){ (int32_t)n, (int32_t)rows, tile, batch, (batch + tile - 1) / tile,
                     dtype, bytes, rw_calloc(bytes) };
    if (!t->data) {
        rw_free(t, sizeof *t);
        return NULL;
    }
    return t;
}

void rw_tiles_free(rw_tiles *t)
{
    if (!t)
        return;
    rw_free(t->data, t->bytes);
    rw_free(t, sizeof *t);
}

rw_status rw_tiles_shape(rw_tiles *t, int64_t batch, int32_t tile)
{
    RW_ASSERT(rw_is_tiles(t));
    size_t need;
    if (!tiles_bytes(t->rows, batch, tile, t->dtype, &need) || need > t->bytes)
        return RW_ESHAPE;
    if (batch == t->batch && tile == t->tile)
        return RW_OK;
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

/* Where users' values come from: as rw_tiles_pack has it. */
typedef struct {
    const char *x;
    ptrdiff_t row_stride, column_stride;
    const int64_t *rows;
    const double *mean, *scale;
} user_array;

/* A block of 16 features of some samples: each row of the source gives a cache line
 * or so, asked for some rows before. The values are converted along a row, where
 * they are neighbours, and turned into features on the way out; the rows of the tile
 * that are written stay in the first cache whatever the strides are. Users' values
 * need not be aligned. */
enum { TURNED = 64 }; /* samples turned at a time: a bound of the stack, 8 KB of doubles */

static const char *row_of(const user_array *in, int64_t sample)
{
    return in->x + (in->rows ? in->rows[sample] : sample) * in->row_stride;
}

#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) ((void)(address))
#endif

#define PACK(name, FROM, TO, READ)                                                     \
    static void name##_row(const user_array *in, const char *from, int32_t i0, int32_t n,   \
                           TO *restrict line)                                          \
    {                                                                                  \
        FROM v[RW_PACK_FEATURES] = { 0 };                                                \
        if (n == RW_PACK_FEATURES && in->column_stride == (ptrdiff_t)sizeof(FROM))       \
            memcpy(v, from, sizeof v);                                                 \
        else                                                                           \
            for (int32_t i = 0; i < n; i++, from += in->column_stride)                 \
                memcpy(&v[i], from, sizeof v[i]);                                      \
        if (n == RW_PACK_FEATURES && in->mean)                                           \
            for (int32_t i = 0; i < RW_PACK_FEATURES; i++)                               \
                line[i] = (TO)(((double)READ(v[i]) - in->mean[i0 + i]) * in->scale[i0 + i]); \
        else if (in->mean)                                                             \
            for (int32_t i = 0; i < n; i++)                                            \
                line[i] = (TO)(((double)READ(v[i]) - in->mean[i0 + i]) * in->scale[i0 + i]); \
        else                                                                           \
            for (int32_t i = 0; i < RW_PACK_FEATURES; i++)                               \
                line[i] = (TO)READ(v[i]);                                              \
    }                                                                                  \
    static void name(const user_array *in, const patch *p)                                  \
    {                                                                                  \
        TO lines[TURNED][RW_PACK_FEATURES] = { { 0 } };                                  \
        for (int32_t b0 = 0; b0 < p->live; b0 += TURNED) {                             \
            int32_t side = (int32_t)rw_min64(TURNED, p->live - b0);                    \
            for (int32_t i0 = p->i0; i0 < p->i1; i0 += RW_PACK_FEATURES) {               \
                int32_t n = (int32_t)rw_min64(RW_PACK_FEATURES, p->i1 - i0);             \
                for (int32_t b = 0; b < side; b++) {                                   \
                    int64_t sample = p->sample + b0 + b;                               \
                    if (b + RW_PACK_ROWS_AHEAD < side)                                      \
                        FETCH(row_of(in, sample + RW_PACK_ROWS_AHEAD) + i0 * in->column_stride); \
                    name##_row(in, row_of(in, sample) + i0 * in->column_stride, i0, n, lines[b]); \
                }                                                                      \
                TO *to = (TO *)(void *)p->at + (size_t)(i0 - p->i0) * (size_t)p->tile + b0; \
                for (int32_t i = 0; i < n; i++, to += p->tile)                         \
                    for (int32_t b = 0; b < side; b++)                                 \
                        to[b] = lines[b][i];                                           \
            }                                                                          \
        }                                                                              \
    }

#define AS_IT_IS(v) (v)
#define AS_BOOL(v) ((v) != 0)
#define PACK_BOTH(name, FROM, READ)         \
    PACK(name##_f32, FROM, float, READ)     \
    PACK(name##_f64, FROM, double, READ)

PACK_BOTH(pack_f32, float, AS_IT_IS)
PACK_BOTH(pack_f64, double, AS_IT_IS)
PACK_BOTH(pack_u8, uint8_t, AS_IT_IS)
PACK_BOTH(pack_i8, int8_t, AS_IT_IS)
PACK_BOTH(pack_u16, uint16_t, AS_IT_IS)
PACK_BOTH(pack_i16, int16_t, AS_IT_IS)
PACK_BOTH(pack_i32, int32_t, AS_IT_IS)
PACK_BOTH(pack_i64, int64_t, AS_IT_IS)
PACK_BOTH(pack_bool, uint8_t, AS_BOOL)

typedef void (*packer)(const user_array *, const patch *);

static const packer PACKERS[][2] = { /* by rw_input, then float32 and float64 */
    { pack_f32_f32, pack_f32_f64 }, { pack_f64_f32, pack_f64_f64 }, { pack_u8_f32, pack_u8_f64 },
    { pack_i8_f32, pack_i8_f64 },   { pack_u16_f32, pack_u16_f64 }, { pack_i16_f32, pack_i16_f64 },
    { pack_i32_f32, pack_i32_f64 }, { pack_i64_f32, pack_i64_f64 },
    { pack_bool_f32, pack_bool_f64 },
};

typedef struct {
    rw_tiles *t;
    pack_cut all;
    const user_array *in;
    packer pack;
} packing;

static void pack_task(const void *arg, int64_t task)
{
    const packing *j = arg;
    patch p = patch_of(j->t, j->all, task);
    j->pack(j->in, &p);
}

void rw_tiles_pack(rw_tiles *t, rw_input kind, const char *x, ptrdiff_t row_stride,
                   ptrdiff_t column_stride, const int64_t *rows, const double *mean,
                   const double *scale, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && kind >= RW_IN_F32 && kind <= RW_IN_BOOL && threads >= 1);
    RW_ASSERT(x && !mean == !scale);
    const user_array in = { x, row_stride, column_stride, rows, mean, scale };
    const packing job = { t, pack_cut_of(t, threads), &in, PACKERS[kind][t->dtype == RW_F64] };
    rw_parallel_tasks(job.all.threads, job.all.count, pack_task, &job);
}

void rw_rows_gather(const rw_user_rows *from, rw_dtype dtype, int64_t sample, int32_t live,
                    int32_t i0, int32_t i1, int32_t width, void *to)
{
    RW_ASSERT(from->x && i0 <= i1 && live <= width);
    const user_array in = { from->x, from->row_stride, from->column_stride, from->rows, NULL, NULL };
    const patch p = { sample, i0, i1, live, width, to };
    PACKERS[from->kind][dtype == RW_F64](&in, &p);
}

#define UNPACK(name, TYPE)                                                             \
    static void name(const patch *p, char *out, ptrdiff_t row_stride)                  \
    {                                                                                  \
        for (int32_t i0 = p->i0; i0 < p->i1; i0 += RW_PACK_FEATURES) {                   \
            int32_t n = (int32_t)rw_min64(RW_PACK_FEATURES, p->i1 - i0);                 \
            size_t skip = (size_t)(i0 - p->i0) * (size_t)p->tile;                      \
            const TYPE *from = (const TYPE *)(void *)p->at + skip;                     \
            for (int32_t b = 0; b < p->live; b++, from++) {                            \
                char *to = out + (p->sample + b) * row_stride + i0 * (ptrdiff_t)sizeof(TYPE); \
                for (int32_t i = 0; i < n; i++)                                        \
                    memcpy(to + (size_t)i * sizeof(TYPE), &from[i * p->tile], sizeof(TYPE)); \
            }                                                                          \
        }                                                                              \
    }

UNPACK(unpack_f32, float)
UNPACK(unpack_f64, double)

void rw_tiles_unpack(const rw_tiles *t, char *out, ptrdiff_t row_stride, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && out && threads >= 1);
    const pack_cut all = pack_cut_of(t, threads);
    RW_PARALLEL_FOR(all.threads)
    for (int64_t i = 0; i < all.count; i++) {
        patch p = patch_of(t, all, i);
        if (t->dtype == RW_F32)
            unpack_f32(&p, out, row_stride);
        else
            unpack_f64(&p, out, row_stride);
    }
}

/* --- CSR ------------------------------------------------------------------- */

typedef struct {
    rw_dtype kind;
    const int64_t *indptr;
    const int32_t *columns;
    const char *values;
    const int64_t *rows;
    const double *mean, *scale;
} csr_rows;

bool rw_csr_in_range(const int64_t *indptr, const int32_t *columns, int64_t entries,
                     const int64_t *rows, int64_t batch, int32_t n)
{
    for (int64_t b = 0; b < batch; b++) {
        int64_t row = rows ? rows[b] : b, e = indptr[row], end = indptr[row + 1];
        if (e < 0 || end > entries)
            return false;
        for (; e < end; e++)
            if (columns[e] < 0 || columns[e] >= n)
                return false;
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
        int32_t i = in->columns[e];
        double sum = csr_value(in, e);
        for (e++; e < end && in->columns[e] == i; e++)
            sum += csr_value(in, e);
        put(t, at, i, b, standard(in, i, sum));
    }
}

/* Columns in any order: sum over a window of features at a time. */
static void put_unsorted(const rw_tiles *t, const csr_rows *in, int64_t e0, int64_t end, char *at,
                         int32_t b)
{
    for (int32_t i0 = 0; i0 < t->n; i0 += WINDOW) {
        double sum[WINDOW] = { 0 };
        bool seen[WINDOW] = { false };
        for (int64_t e = e0; e < end; e++) {
            int32_t i = in->columns[e] - i0;
            if (i < 0 || i >= WINDOW)
                continue;
            sum[i] = seen[i] ? sum[i] + csr_value(in, e) : csr_value(in, e);
            seen[i] = true;
        }
        for (int32_t i = 0; i < WINDOW; i++)
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
        int64_t sample = tile * t->tile + b, row = in->rows ? in->rows[sample] : sample;
        int64_t e = in->indptr[row], end = in->indptr[row + 1];
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
                       const char *values, const int64_t *rows, const double *mean,
                       const double *scale, int threads)
{
    RW_ASSERT(rw_is_tiles(t) && (kind == RW_F32 || kind == RW_F64) && threads >= 1);
    RW_ASSERT(indptr && !mean == !scale);
    const csr_job job = { t, { kind, indptr, columns, values, rows, mean, scale } };
    rw_parallel_tasks(rw_threads_for(threads, t->batch * t->n), t->n_tiles, pack_csr_task, &job);
}
