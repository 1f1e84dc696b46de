/* order.h -- what fixes the order of sums and which random numbers are drawn: contract, not tuning.
 *
 * A sum of floating-point numbers depends on the order of its terms, and a random structure on
 * the names of its draws. So every number here is part of every result: changing one changes
 * each trained network. They are the same for all instruction sets, machines and threads, and
 * where they cut is a function of widths, batch and dtype alone.
 *
 * Not among them is how many lanes a register has. Within a span a weight gradient sums as many
 * samples side by side as a register holds (kernels.h), so instruction sets agree to a bound,
 * and not to the bit. What may differ from machine to machine without a trace in any result is
 * in tuning.h and kernels_tuning.h. */
#ifndef RW_ORDER_H
#define RW_ORDER_H

#include "base/base.h"

enum {
    /* Bytes of one feature's samples in a full tile: 64 of float32, 32 of float64. Weight and
     * bias gradients are summed tile by tile. Smaller tiles for wide layers were measured and
     * won nothing (docs/tried.md). */
    RW_TILE_BYTES = 256,

    /* Samples whose products a weight gradient sums in registers before it adds up their lanes.
     * That costs as much as 32 samples or so: at 512 it is lost in the noise. */
    RW_SPAN = 512,

    /* Sums side by side in a sum of squares (fields.h): value i of a run goes to sum i % 8;
     * and in a sample's loss (loss.h). */
    RW_SUM_LANES = 8,

    /* Outputs of a sample whose losses are summed by one task (loss.h). */
    RW_LOSS_FEATURES = 512,

    /* Sums side by side in a sum over one row of a tile, where no register does it (srelu.h,
     * norm.h): sample b goes to sum b % 8. */
    RW_ROW_LANES = 8,

    /* Rows of a tile that are summed before they are added to the sum over all (norm.h): keeps
     * the error of long sums small. */
    RW_NORM_ROWS = 64,

    /* New links of a stretch, about (grow_random.h): the stretches that a layer is cut into name
     * the draws that fill it. A stretch's links are sorted in the first-level cache. */
    RW_STRETCH_LINKS = 1024
};

/* Samples a tile should have: the smallest power of two that holds `batch`, at most what fills
 * RW_TILE_BYTES. `dtype` is RW_F32 or RW_F64. */
static inline int32_t rw_tile_size(int64_t batch, rw_dtype dtype)
{
    int32_t most = RW_TILE_BYTES / (int32_t)rw_dtype_size(dtype), tile = 1;
    while (tile < most && tile < batch)
        tile *= 2;
    return tile;
}

#endif
