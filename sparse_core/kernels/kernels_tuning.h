/* kernels_tuning.h -- numbers of one instruction set that are chosen for speed, with reasons.
 *
 * They stand in a table beside the kernels that they were measured with: rw_kernels.tuning,
 * defined in kernels_<isa>.c. None of them changes a result (order.h has those that would;
 * the tests run products with absurd tables and compare bits). How many registers a kernel
 * keeps is in kernels_body.h.
 *
 * RW_TUNING_MEASURED are values of products with AVX-512 on an Intel Xeon (2 MB of second-level cache)
 * and an AMD EPYC (1 MB), and of growth with AVX2 on an EPYC (512 KB), in float32; where products on
 * the latter want another value, kernels_avx2.c and kernels_avx512.c say so.
 * Instruction sets and dtypes without a measurement take them as they are, and say so. */
#ifndef RW_KERNELS_TUNING_H
#define RW_KERNELS_TUNING_H

#include <stdint.h>

/* When a layer goes through its sources in panels (panels.h). */
typedef struct {
    int64_t bytes;  /* activations of a panel: the first-level cache or a little more        */
    int32_t slots;  /* of a row from which panels pay: every piece of a row begins with a jump
                       that the machine cannot foresee                                        */
    int32_t group;  /* the largest group that gains: larger ones do so much for one load that
                       the jumps cost more; but scattering also stores, and gains most        */
    int64_t wide;   /* bytes of all activations from which larger ones gain too, because what lies
                       beyond the caches of a core costs more than jumps,                     */
    int64_t line;   /* if a source has as many bytes: there is enough to do between two jumps */
} rw_panel_rule;

typedef struct {
    rw_panel_rule forward, scatter, dw;
    /* Bytes of a source's samples from which panels pay: in a small batch rows end too soon. */
    int64_t panel_line;
    /* A panel larger than this is no nearer than the whole. */
    int64_t panel_most;
    /* How often the slots of the groups that share a pass over the panels should touch every
     * source of a panel. */
    int64_t panel_reuse;
    /* Activations of a batch that take `stream` bytes, and `stream_line` a source, come from beyond a core's
     * own caches, where a line that nobody foresaw costs most. Where a source has `stream_links` links or
     * more, they are read once in the order of memory, which processors foresee, before slots jump among
     * them; and since a panel is read whole then, its sources should be touched `stream_reuse` times. A block
     * that touches them less than `stream_touches` times, one of many threads', does not read it. */
    int64_t stream, stream_line, stream_links, stream_reuse, stream_touches;
    /* Bytes of activations that the second-level cache keeps: half of the smallest cache in use
     * today (1 MB), the rest being for the outputs, the weights and other programs on the core.
     * A layer with more activations fetches slots ahead. */
    int64_t near;

    /* Slots of a row that are counted through sooner than searched. */
    int32_t counted;

    /* dX gathers through the mirror only while a panel takes fewer slots of a row than
     * `gather_piece`, and only up to `gather_slots` slots: it reads a line of the cache for every
     * weight, so the weights must be near (2 MB of float32). Else it scatters panel by panel. */
    int32_t gather_piece;
    int64_t gather_slots;

    /* Values of gradient between dW and the optimizer's step, of one thread, at least; and the most
     * that they become for panels, which want many groups beside each other. */
    int64_t scratch, scratch_most;
    /* Multiply-adds of a task: some 10 us, a hundred times what handing it out costs. */
    int64_t task_work;

    /* Samples of a panel of `outer` that stay in the first-level cache. */
    int32_t outer_span;
    /* Growth makes the gradients of as many rows at once as `outer` has in registers; if these
     * rows would take more bytes than this, only the rows of one group. */
    int64_t grow_bytes;
} rw_tuning;

#define RW_TUNING_WITH(tile_wide, scatter_group, scatter_slots) /* tile: forward and scatter */ \
    {                                                                                         \
        .forward = { .bytes = 64 << 10, .slots = 40, .group = 2, .wide = tile_wide },         \
        .scatter = { .bytes = 32 << 10, .slots = (scatter_slots), .group = (scatter_group),   \
                     .wide = (tile_wide) },                                                   \
        .dw = { .bytes = 64 << 10, .slots = 20, .group = 4, .wide = 4 << 20, .line = 1024 },  \
        .panel_line = 64, .panel_most = 1536 << 10, .panel_reuse = 8, .near = 512 << 10,      \
        .stream = 2 << 20, .stream_line = 512, .stream_links = 16, .stream_reuse = 16,        \
        .stream_touches = 1, .counted = 128, .gather_piece = 14, .gather_slots = 512 << 10,   \
        .scratch = 32 << 10, .scratch_most = 1 << 20, .task_work = 1 << 18,                   \
        .outer_span = 256, .grow_bytes = 4 << 20                                              \
    }

#define RW_TUNING_MEASURED RW_TUNING_WITH(INT64_MAX, 4, 20)

#endif
