/* tiles.h -- activations as the kernels want them.
 *
 * Users hold arrays (batch, features). Inside a network a batch is cut into
 * tiles of `tile` samples, and a tile is stored feature by feature:
 *
 *      value (feature i, sample b)  at  data[((b / tile) * rows + i) * tile + b % tile]
 *
 * so that one row of a tile -- one neuron's activations over `tile` samples --
 * is contiguous, aligned, and streams through vector registers while a whole
 * tile (features * tile values) stays in the second-level cache.
 *
 * The tile is a pure function of the number of samples and the dtype (rw_tile_size, in
 * order.h): never of the host's cache or thread count, since the sum over samples in a
 * weight gradient goes tile by tile.
 *
 * Invariant: samples from `batch` to the end of the last tile are zero, and so
 * are the rows from `n` to `rows`. Every function that writes tiles keeps it. */
#ifndef RW_TILES_H
#define RW_TILES_H

#include "base/mem.h"
#include "base/order.h"
#include "kernels/kernels.h"

enum {
    RW_ROW_PAD = 8,       /* rows = n rounded up to this: a store's last group may reach over n */
    RW_MAX_TILE = 1 << 16 /* a bound, so that a few rows of a tile are an int32 */
};

typedef struct {
    int32_t n;        /* features                                             */
    int32_t rows;     /* features that have memory: n rounded up to RW_ROW_PAD */
    int32_t tile;     /* samples a tile: a power of two, at most RW_MAX_TILE  */
    int64_t batch;    /* samples in use                                       */
    int64_t n_tiles;  /* ceil(batch / tile)                                   */
    rw_dtype dtype;   /* RW_F32 or RW_F64                                     */
    size_t bytes;     /* of the memory at data                                */
    char *data;
    bool foreign;     /* does somebody else own that memory?                  */
} rw_tiles;

/* Tiles for up to `batch` samples, all zero. NULL when there is no memory or a
 * number is out of range. */
rw_tiles *rw_tiles_new(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype);
void rw_tiles_free(rw_tiles *t);

/* Bytes that such tiles take; 0 when a number is out of range. */
size_t rw_tiles_bytes(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype);

/* Tiles in memory of somebody else, who keeps it for as long and sees to the invariant above: *t
 * becomes what describes them, and is not to be given to rw_tiles_free. RW_ESHAPE when a number is
 * out of range, the memory too small, or not aligned as rw_alloc's is. Nothing is written there.
 * A batch of images (batch, n, pixels) is such tiles, of `pixels` samples each, where n is a
 * multiple of RW_ROW_PAD and `pixels` a power of two. */
rw_status rw_tiles_over(rw_tiles *t, int64_t n, int64_t batch, int32_t tile, rw_dtype dtype,
                        void *data, size_t bytes);

/* Zeros where no sample or no feature is, and is all zero there? Bit patterns: no -0. */
void rw_tiles_clear_padding(rw_tiles *t);
bool rw_tiles_padding_is_clear(const rw_tiles *t);

/* Use the memory for another number of samples or another tile; contents become
 * zero when either changes. RW_ESHAPE when it does not fit in the memory, or is another's. */
rw_status rw_tiles_shape(rw_tiles *t, int64_t batch, int32_t tile);

/* RW_BF16 only where bf16.h says so. */
static inline bool rw_is_tile_dtype(rw_dtype dtype)
{
    return dtype == RW_F32 || dtype == RW_F64 || dtype == RW_BF16;
}

/* What every function that takes tiles relies on. */
static inline bool rw_is_tiles(const rw_tiles *t)
{
    return t && t->n >= 1 && t->n <= t->rows && t->rows % RW_ROW_PAD == 0
        && t->tile >= 1 && t->tile <= RW_MAX_TILE && (t->tile & (t->tile - 1)) == 0
        && t->batch >= 1 && t->n_tiles == (t->batch + t->tile - 1) / t->tile
        && rw_is_tile_dtype(t->dtype) && rw_is_aligned(t->data)
        && (size_t)t->n_tiles * (size_t)t->rows * (size_t)t->tile * rw_dtype_size(t->dtype)
               <= t->bytes;
}

/* One tile's first value. */
static inline char *rw_tile_at(const rw_tiles *t, int64_t tile)
{
    RW_ASSERT(tile >= 0 && tile < t->n_tiles);
    return t->data + (size_t)tile * (size_t)t->rows * (size_t)t->tile * rw_dtype_size(t->dtype);
}
/* Samples of a tile that are in use. */
static inline int32_t rw_tile_live(const rw_tiles *t, int64_t tile)
{
    RW_ASSERT(tile >= 0 && tile < t->n_tiles);
    return (int32_t)rw_min64(t->tile, t->batch - tile * t->tile);
}

/* Are all of `n` row numbers in [0, bound)? */
static inline bool rw_rows_in_range(const int64_t *rows, int64_t n, int64_t bound)
{
    for (int64_t i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= bound)
            return false;
    return true;
}

/* Tiles from a user's rows, with kernels of the tiles' dtype (the caller has checked the range). */
void rw_tiles_pack(const rw_kernels *k, rw_tiles *t, const rw_user_rows *in, int threads);

/* Where the entries of a CSR row lie; false if that is not within the `entries` that there are. */
bool rw_csr_row(const int64_t *indptr, int64_t row, int64_t entries, int64_t *begin, int64_t *end);

/* Do CSR rows hold together: `rows` (as below, `batch` of them) lie within the
 * `entries` that there are, and their columns in [0, n)? Whoever lent them may write to them afterwards:
 * this is for an error in time, and who reads them stays within his own memory whatever they hold. */
bool rw_csr_in_range(const int64_t *indptr, const int32_t *columns, int64_t entries,
                     const int64_t *rows, int64_t batch, int32_t n);

/* The same from CSR rows of so many `entries` (indptr int64, columns int32, duplicates add). values:
 * float32 or float64. What lies out of range is left out. */
void rw_tiles_pack_csr(rw_tiles *t, rw_dtype kind, const int64_t *indptr, const int32_t *columns,
                       const char *values, int64_t entries, const int64_t *rows, const double *mean,
                       const double *scale, int threads);

/* Is every value that is in use finite? */
bool rw_tiles_finite(const rw_tiles *t, int threads);

/* The reverse: a (batch, n) array of the tiles' dtype, with byte strides. */
void rw_tiles_unpack(const rw_kernels *k, const rw_tiles *t, char *out, ptrdiff_t row_stride,
                     ptrdiff_t column_stride, int threads);

#endif
