/* tuning.h -- every number that was chosen by measurement, with its reason.
 *
 * None of them changes a result: sums are added in the same order however work
 * is cut (kernels.h), except RW_SPAN, which is part of that contract. The
 * figures behind them are printed by bench/kernels.py and told in
 * docs/performance.md. How many registers a kernel keeps is beside the kernels,
 * in kernels_body.h. */
#ifndef RW_TUNING_H
#define RW_TUNING_H

enum {
    /* Samples a weight gradient sums in registers before it folds their lanes.
     * A fold costs as much as 32 samples or so: at 512 it is lost in the noise. */
    RW_SPAN = 512,

    /* Bytes of activations that are read from the second-level cache: half of the
     * smallest in use today (1 MB), the rest being for the outputs, the weights and
     * whoever shares the core. What has more is fetched ahead, or cut into panels
     * of sources of this size. */
    RW_NEAR = 512 << 10,
    /* Slots of a row and a panel below which panels lose: every piece begins with a
     * jump that the machine cannot foresee. dW does more work at a slot. Groups of
     * 4 and more never win: they do so much for one load that fetching ahead is
     * enough. Panels for the first-level cache were tried and won nothing. */
    RW_PANEL_SLOTS = 128,
    RW_PANEL_SLOTS_DW = 48,
    RW_PANEL_GROUP = 2,

    /* Groups that go through panels together, at most: their places are kept on
     * the stack (12 KB). */
    RW_TASK_GROUPS = 1024,
    /* Their slots should touch every source of a panel some times. */
    RW_PANEL_REUSE = 8,

    /* Slots of a row that are counted through sooner than searched. */
    RW_COUNTED = 128,

    /* Values of gradient between dW and the optimizer step, of one thread. */
    RW_SCRATCH = 32 << 10,

    /* Multiply-adds of a task: some 10 us, a hundred times what handing it out costs. */
    RW_TASK_WORK = 1 << 18,
    /* Multiply-adds of each thread between two polls: 20 ms at 10 GFLOP/s. */
    RW_POLL_WORK = 100000000,
    /* Multiply-adds worth a thread: waking one costs a few microseconds. */
    RW_WORK_PER_THREAD = 50000
};

#endif
