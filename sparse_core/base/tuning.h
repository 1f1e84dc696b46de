/* tuning.h -- numbers chosen by measurement that another machine may want otherwise,
 * each with its reason. Not all there are: more stand beside their use.
 *
 * None of them changes a result: sums are added in the same order however work
 * is cut (kernels.h), except RW_SPAN, which is part of that contract. The
 * figures behind them are printed by bench/kernels.py and told in
 * docs/performance.md and docs/tried.md. How many registers a kernel keeps is beside
 * the kernels, in kernels_body.h. */
#ifndef RW_TUNING_H
#define RW_TUNING_H

#include <stdint.h>

enum {
    /* Samples a weight gradient sums in registers before it folds their lanes.
     * A fold costs as much as 32 samples or so: at 512 it is lost in the noise. */
    RW_SPAN = 512,

    /* Bytes of activations that the second-level cache keeps: half of the smallest
     * in use today (1 MB), the rest being for the outputs, the weights and whoever
     * shares the core. Of what has more, slots are fetched ahead. */
    RW_NEAR = 512 << 10,
    /* Bytes of a source from which panels pay: with few samples a row is over too soon. */
    RW_PANEL_LINE = 64,
    /* A panel larger than this is no nearer than the whole. */
    RW_PANEL_MOST = 1536 << 10,

    /* Groups that go through panels together, at most: their places are kept on
     * the stack (12 KB). */
    RW_TASK_GROUPS = 1024,
    /* Their slots should touch every source of a panel some times. */
    RW_PANEL_REUSE = 8,

    /* Slots of a row that are counted through sooner than searched. */
    RW_COUNTED = 128,

    /* Values of gradient between dW and the optimizer step, of one thread. */
    RW_SCRATCH = 32 << 10,

    /* Rows whose gradients growth makes together: as many as the kernel has in registers.
     * Of longer rows, which would take more bytes, only those of one group. */
    RW_GROW_ROWS = 4,
    RW_GROW_BYTES = 4 << 20,
    /* Samples of a panel that stay in the first-level cache. */
    RW_OUTER_SPAN = 256,

    /* Growth takes the best of this many places for each that it wants by noting all of them,
     * in 13 bytes each; of more it takes them from a stream, in 64 bytes for each
     * that it wants and each thread. */
    RW_GROW_CANDIDATES = 6,

    /* Multiply-adds of a task: some 10 us, a hundred times what handing it out costs. */
    RW_TASK_WORK = 1 << 18,
    /* Multiply-adds of each thread between two polls: 20 ms at 10 GFLOP/s. */
    RW_POLL_WORK = 100000000,
    /* Multiply-adds worth a thread: waking one costs a few microseconds. */
    RW_WORK_PER_THREAD = 50000,

    /* dX gathers through the mirror only while a panel takes fewer slots of a row
     * than this, and only from so many slots: it reads a line of the cache for every
     * weight, so the weights must be near (2 MB of float32). Else it scatters panel by panel. */
    RW_GATHER_PIECE = 14,
    RW_GATHER_SLOTS = 512 << 10
};

/* Panels of sources (panels.h): their bytes, the slots of a row from which they
 * pay -- every piece begins with a jump that the machine cannot foresee --, and
 * the largest group. Larger groups do so much for one load that they gain less
 * than the jumps cost; but scattering also stores, and gains most. The bytes are
 * those of the first-level cache or a little more. */
typedef struct {
    int64_t bytes;
    int32_t slots, group;
} rw_panel_rule;

static const rw_panel_rule RW_PANELS_FORWARD = { 64 << 10, 40, 2 };
static const rw_panel_rule RW_PANELS_SCATTER = { 32 << 10, 20, 4 };
static const rw_panel_rule RW_PANELS_DW = { 64 << 10, 20, 4 };

#endif
