/* tuned.h -- tables of tuning that no machine would want give the same bits. */
#ifndef RW_TEST_TUNED_H
#define RW_TEST_TUNED_H

#include "ops/tasks.h"
#include "grow_gradient.h"

/* Everything is cut as small as it can be, and all is far. */
static const rw_tuning SMALLEST = {
    .forward = { .bytes = 1, .slots = 1, .group = 8, .wide = 0 },
    .scatter = { .bytes = 1, .slots = 1, .group = 8, .wide = 0 },
    .dw = { .bytes = 1, .slots = 1, .group = 8, .wide = 0 },
    .panel_line = 1, .panel_most = INT64_MAX, .panel_reuse = 1, .near = 0, .counted = 0,
    .stream = 0, .stream_line = 0, .stream_links = 0, .stream_reuse = 1, .stream_touches = 0,
    .gather_piece = 0, .gather_slots = 0, .scratch = 1, .scratch_most = 1, .task_work = 1, .grow_bytes = 1
};

/* Nothing is cut, and all is near. */
static const rw_tuning LARGEST = {
    .forward = { .bytes = INT64_MAX / 2, .slots = INT32_MAX, .group = 1, .wide = INT64_MAX },
    .scatter = { .bytes = INT64_MAX / 2, .slots = INT32_MAX, .group = 1, .wide = INT64_MAX },
    .dw = { .bytes = INT64_MAX / 2, .slots = INT32_MAX, .group = 1, .wide = INT64_MAX },
    .panel_line = INT64_MAX, .panel_most = 0, .panel_reuse = 1 << 20, .near = INT64_MAX,
    .stream = INT64_MAX, .stream_reuse = 1 << 20, .stream_touches = 1 << 20, .counted = INT32_MAX,
    .gather_piece = INT32_MAX, .gather_slots = INT64_MAX, .scratch = 1 << 20, .scratch_most = 1 << 20,
    .task_work = INT64_MAX, .grow_bytes = INT64_MAX
};

/* What the operations of a layer write. */
typedef struct {
    rw_store *s; /* with gradients and a step taken */
    rw_tiles *y, *dx;
    rw_plan *grown;
} written;

static written written_with(const rw_kernels *k, int32_t group, int64_t batch)
{
    int32_t n_out = 2 * N_LENGTHS + 1, n_in = 200, tile = rw_tile_size(batch, k->dtype);
    rw_run three = { 3, NULL, NULL };
    rw_key key = { 1, 2, 3 };
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .momentum = 0.9, .step = 1,
                    .state = { "momentum" } };
    written out = { .s = store_of(n_out, n_in, group, group, k->dtype),
                    .y = tiles_new(n_out, batch, tile, k->dtype),
                    .dx = tiles_new(n_in, batch, tile, k->dtype) };
    int32_t grad = add_field(out.s, "grad");
    (void)add_field(out.s, "momentum");
    REQUIRE(rw_mirror_build(out.s, 1) == RW_OK);
    rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
    rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
    size_t bytes = 3 * (size_t)rw_scratch_values(k, out.s, dy) * rw_dtype_size(k->dtype);
    void *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    CHECK_STATUS(rw_forward(k, out.s, x, NULL, RW_ACT_RELU, 0, out.y, NULL, &three), RW_OK);
    CHECK_STATUS(rw_backward_input(k, out.s, dy, out.dx, &three), RW_OK);
    CHECK_STATUS(rw_backward_weights(k, out.s, x, dy, grad, false, NULL, &three), RW_OK);
    CHECK_STATUS(rw_backward_update(k, out.s, x, dy, &u, scratch, &three), RW_OK);
    out.grown = rw_plan_new(out.s);
    REQUIRE(out.grown);
    CHECK_STATUS(rw_plan_grow_gradient(out.grown, 20, k, x, NULL, dy, false, key, &three), RW_OK);
    rw_free(scratch, bytes);
    rw_tiles_free(dy);
    rw_tiles_free(x);
    return out;
}

static void written_free(written w)
{
    rw_plan_free(w.grown);
    rw_tiles_free(w.dx);
    rw_tiles_free(w.y);
    rw_store_free(w.s);
}

static void test_tuning_changes_no_bit(void)
{
    static const int64_t BATCHES[] = { 1, 2, 6, 16, 20, 100, RW_SPAN + 70, 70, 129 };
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++)
            for (int i = g % NEXT_PAIR; i < 9; i += NEXT_PAIR) {
                written usual = written_with(k, GROUPS[g], BATCHES[i]);
                for (int odd = 0; odd < 2; odd++) {
                    rw_kernels tuned = *k;
                    tuned.tuning = odd ? &LARGEST : &SMALLEST;
                    written other = written_with(&tuned, GROUPS[g], BATCHES[i]);
                    CHECK(tiles_same(usual.y, other.y));
                    CHECK(tiles_same(usual.dx, other.dx));
                    for (int32_t f = 0; f < usual.s->n_fields; f++)
                        CHECK(fields_same(usual.s, other.s, f));
                    size_t n = (size_t)usual.grown->n_ins * sizeof(int32_t);
                    REQUIRE(usual.grown->n_ins == 20 && other.grown->n_ins == 20);
                    CHECK(memcmp(usual.grown->ins_group, other.grown->ins_group, n) == 0);
                    CHECK(memcmp(usual.grown->ins_source, other.grown->ins_source, n) == 0);
                    written_free(other);
                }
                written_free(usual);
            }
}

/* Multiply-adds since somebody was last asked, and the most that they were. */
static struct {
    const rw_kernels *real;
    int64_t since, most;
} unasked;

static int64_t slots_before(const rw_panel *p, int32_t groups)
{
    int64_t slots = 0;
    for (int32_t g = 0; g < groups; g++)
        slots += p->at[g];
    return slots;
}

static void counted_forward(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                            const rw_strip *strip, const void *bias)
{
    int64_t before = slots_before(p, g1 - g0);
    unasked.real->forward(w, g0, g1, p, strip, bias);
    unasked.since += (slots_before(p, g1 - g0) - before) * w->group * strip->cols;
    unasked.most = rw_max64(unasked.most, unasked.since);
}

static void counted_dw(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                       const rw_span *span, const int64_t *first, void *grad)
{
    int64_t before = slots_before(p, g1 - g0);
    unasked.real->dw(w, g0, g1, p, span, first, grad);
    unasked.since += (slots_before(p, g1 - g0) - before) * w->group * span->n_tiles * span->tile;
    unasked.most = rw_max64(unasked.most, unasked.since);
}

static int poll_and_count(void *arg)
{
    unasked.since = 0;
    return count_poll(arg);
}

/* Where panels want many groups beside each other, a task is as long as its batch. */
static void test_a_poll_can_stop_it_within_panels(void)
{
    enum { IN = 600, OUT = 8 * 260, BATCH = 2600 };
    rw_tuning wide = SMALLEST;
    wide.forward.slots = wide.dw.slots = 20;
    wide.panel_reuse = wide.stream_reuse = wide.scratch = wide.scratch_most = 1 << 22;
    unasked.real = rw_kernels_named(RW_F32, NULL);
    rw_kernels counted = *unasked.real, tuned = counted;
    counted.tuning = tuned.tuning = &wide;
    counted.forward = counted_forward;
    counted.dw = counted_dw;
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .step = 1 };
    rw_store *s = store_of(OUT, IN, 8, 8, RW_F32), *usual = store_of(OUT, IN, 8, 8, RW_F32);
    int32_t grad = add_field(s, "grad");
    rw_tiles *x = tiles_of(3, IN, BATCH, 64, RW_F32), *dy = tiles_of(4, OUT, BATCH, 64, RW_F32);
    rw_tiles *wide_x = tiles_of(3, IN, 1024, 1024, RW_F32), *wide_y = tiles_of(4, OUT, 1024, 1024, RW_F32);
    size_t bytes = (size_t)rw_scratch_values(&tuned, s, dy) * 2 * sizeof(float);
    void *scratch = rw_alloc(bytes);
    REQUIRE(scratch);
    for (int threads = 1; threads <= 2; threads++)
        for (int i = 0; i < PATIENCES; i++)
            for (int op = 0; op < 4; op++) {
                int patience = threads == 1 ? PATIENCE[i] : 0, left = patience;
                const rw_kernels *k = threads == 1 ? &counted : &tuned;
                rw_run run = { threads, poll_and_count, &left };
                unasked.since = unasked.most = 0;
                rw_status status =
                    op == 0   ? rw_forward(k, s, wide_x, NULL, RW_ACT_LINEAR, 0, wide_y, NULL, &run)
                    : op == 1 ? rw_backward_weights(k, s, x, dy, grad, false, NULL, &run)
                    : op == 2 ? rw_backward_weights(k, s, x, dy, grad, true, scratch, &run)
                              : rw_backward_update(k, s, x, dy, &u, scratch, &run);
                CHECK_STATUS(status, patience ? RW_OK : RW_EINTR);
                CHECK(patience ? left < 98 && left > 70 : left == -1); /* who said so is not asked again */
                CHECK(unasked.most < 2 * RW_POLL_WORK); /* a panel is less */
                if (threads == 1 && op == 3) { /* a step is taken from whole gradients alone */
                    if (patience)
                        CHECK_STATUS(rw_backward_update(unasked.real, usual, x, dy, &u, scratch, &ALONE), RW_OK);
                    CHECK(fields_same(s, usual, RW_WEIGHT));
                }
            }
    rw_free(scratch, bytes);
    rw_tiles_free(wide_y);
    rw_tiles_free(wide_x);
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_store_free(usual);
    rw_store_free(s);
}

/* Words that were read in order, by all threads. */
static _Atomic int64_t words_read;

static uint64_t counted_read(const void *data, int64_t words)
{
    (void)data;
    words_read += words;
    return 0;
}

/* Once by forward and once by dW, where they are large, and many by the sample and by their links; and by
 * each block of dW's, threads making many, if it touches them often enough itself. */
static void test_inputs_from_afar_are_read_in_order(void)
{
    enum { IN = 200, OUT = 8 * N_LENGTHS, BATCH = 128, LINE = BATCH * sizeof(float) };
    rw_kernels k = *rw_kernels_named(RW_F32, NULL);
    rw_tuning usual = *k.tuning;
    usual.dw = SMALLEST.dw;
    usual.task_work = SMALLEST.task_work; /* more than one block */
    usual.panel_line = SMALLEST.panel_line;
    usual.panel_most = SMALLEST.panel_most;
    rw_store *s = store_of(OUT, IN, 8, 8, RW_F32);
    int32_t grad = add_field(s, "grad");
    rw_tiles *x = tiles_of(3, IN, BATCH, 64, RW_F32), *y = tiles_new(OUT, BATCH, 64, RW_F32);
    rw_tiles *dy = tiles_of(4, OUT, BATCH, 64, RW_F32);
    k.read = counted_read;
    usual.stream = IN * LINE;
    usual.stream_line = LINE;
    usual.stream_links = s->slots * s->group / IN;
    usual.stream_reuse = LARGEST.panel_reuse;
    usual.stream_touches = s->slots / IN;
    REQUIRE(usual.stream_links > 0 && usual.stream_touches > 1);
    for (int less = 0; less < 5; less++) {
        rw_tuning t = usual;
        t.stream += less == 1;
        t.stream_line += less == 2;
        t.stream_links += less == 3;
        t.stream_touches += less == 4;
        k.tuning = &t;
        int64_t all = IN * LINE / (int64_t)sizeof(uint64_t), by_forward = less % 4 ? 0 : all;
        words_read = 0;
        CHECK_STATUS(rw_forward(&k, s, x, NULL, RW_ACT_RELU, 0, y, NULL, &ALONE), RW_OK);
        CHECK(words_read == by_forward);
        CHECK_STATUS(rw_backward_weights(&k, s, x, dy, grad, false, NULL, &ALONE), RW_OK);
        CHECK(words_read == (less ? by_forward : 2 * all));
    }
    for (int64_t touches = 0; touches < 2; touches++) { /* with eight threads a block is one group */
        rw_tuning t = usual;
        rw_run eight = { 8, NULL, NULL };
        t.stream_touches = touches;
        k.tuning = &t;
        words_read = 0;
        CHECK_STATUS(rw_backward_weights(&k, s, x, dy, grad, false, NULL, &eight), RW_OK);
        CHECK(words_read == (touches ? 0 : s->n_groups * IN * LINE / (int64_t)sizeof(uint64_t)));
    }
    rw_tiles_free(dy);
    rw_tiles_free(y);
    rw_tiles_free(x);
    rw_store_free(s);
}

/* By forward both tiles of a strip with a rest, panel by panel, where one tile alone is large and a block of
 * groups touches it often enough; dX brings them near by zeroing. */
static void test_strips_with_a_rest_fill_panels(void)
{
    enum { IN = 200, OUT = N_LENGTHS, BATCH = 70, TILE = IN * RW_TILE_BYTES };
    rw_kernels k = *rw_kernels_named(RW_F32, NULL);
    rw_tuning t = *k.tuning;
    rw_store *s = store_of(OUT, IN, 1, 1, RW_F32);
    rw_tiles *x = tiles_of(3, IN, BATCH, 64, RW_F32), *y = tiles_new(OUT, BATCH, 64, RW_F32);
    int64_t words = TILE / (int64_t)sizeof(uint64_t), usual = rw_rest_cols(&k, x, 1) ? words : 2 * words;
    rw_run eight = { 8, NULL, NULL };
    k.read = counted_read;
    k.tuning = &t;
    t.stream = TILE;
    t.stream_line = t.stream_links = t.near = 0;
    t.forward.slots = 1;
    t.panel_most = INT64_MAX;
    for (int less = 0; less < 3; less++) {
        t.stream = TILE + (less == 1);
        t.stream_touches = less == 2; /* with eight threads a block is one group */
        words_read = 0;
        CHECK_STATUS(rw_forward(&k, s, x, NULL, RW_ACT_RELU, 0, y, NULL, less == 2 ? &eight : &ALONE), RW_OK);
        CHECK(words_read == (less ? usual : 2 * words));
        words_read = 0;
        CHECK_STATUS(rw_backward_input(&k, s, y, x, &ALONE), RW_OK);
        CHECK(words_read == 0);
    }
    rw_tiles_free(y);
    rw_tiles_free(x);
    rw_store_free(s);
}

#endif
