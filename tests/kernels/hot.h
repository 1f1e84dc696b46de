/* hot.h -- a training step asks for no memory. */
#ifndef RW_TEST_HOT_H
#define RW_TEST_HOT_H

#include "ops/loss.h"
#include "base/mem.h"
#include "setup.h"
#include "updates.h"

/* Every operation of a step, where the first allocation would fail. */
static void step_without_memory(const rw_kernels *k, int32_t group, int64_t batch, int threads)
{
    int32_t n_out = 8 * group + 1, n_in = 200, tile = rw_tile_size(batch, k->dtype);
    rw_store *s = store_of(n_out, n_in, group, group, k->dtype);
    add_field(s, "momentum");
    int32_t grad = add_field(s, "grad");
    void *bias = bias_of(n_out, k->dtype);
    rw_tiles *x = tiles_of(3, n_in, batch, tile, k->dtype);
    rw_tiles *dx = tiles_new(n_in, batch, tile, k->dtype);
    rw_tiles *dy = tiles_of(4, n_out, batch, tile, k->dtype);
    rw_tiles *y = tiles_new(n_out, batch, tile, k->dtype);
    size_t bytes = (size_t)threads * (size_t)rw_scratch_values(k, s, dy) * rw_dtype_size(k->dtype);
    void *scratch = rw_alloc(bytes), *sums = bias_of(n_out, k->dtype);
    int64_t *labels = rw_calloc_array((size_t)batch, sizeof *labels);
    REQUIRE(scratch && labels && rw_mirror_build(s, 1) == RW_OK);
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .momentum = 0.9, .step = 1,
                    .state = { "momentum" } };
    rw_run run = { threads, NULL, NULL };
    rw_key key = { 1, 2, 3 };
    rw_loss_spec spec = { .kind = RW_LOSS_SOFTMAX_CE };
    rw_targets targets = { .labels = labels };
    size_t partial_bytes = rw_loss_scratch(y) * sizeof(double);
    double *partial = rw_alloc(partial_bytes), loss;
    REQUIRE(partial);

    rw_mem_fail_after = 0;
    CHECK_STATUS(rw_dropout(k, x, x, 0.3, key, 0, &run), RW_OK);
    CHECK_STATUS(rw_forward(k, s, x, bias, RW_ACT_RELU, 0, y, NULL, &run), RW_OK);
    CHECK_STATUS(rw_loss_eval(k, &spec, y, &targets, NULL, dy, partial, NULL, &loss, &run), RW_OK);
    CHECK_STATUS(rw_activate_back(k, RW_ACT_RELU, 0, y, dy, &run), RW_OK);
    CHECK_STATUS(rw_bias_gradient(k, dy, sums, false, &run), RW_OK);
    CHECK_STATUS(rw_backward_input(k, s, dy, dx, &run), RW_OK);
    s->mirror.valid = false; /* and scattering */
    CHECK_STATUS(rw_backward_input(k, s, dy, dx, &run), RW_OK);
    CHECK_STATUS(rw_backward_update(k, s, x, dy, &u, scratch, &run), RW_OK);
    CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, false, NULL, &run), RW_OK);
    CHECK_STATUS(rw_backward_weights(k, s, x, dy, grad, true, scratch, &run), RW_OK);
    CHECK_STATUS(rw_bias_gradient(k, dy, sums, true, &run), RW_OK);
    CHECK_STATUS(rw_update_from(k, s, grad, &u, &run), RW_OK);
    rw_mem_fail_after = -1;

    rw_free(partial, partial_bytes);
    rw_free(labels, (size_t)batch * sizeof *labels);
    rw_free(scratch, bytes);
    bias_free(sums, n_out);
    bias_free(bias, n_out);
    rw_tiles_free(y);
    rw_tiles_free(dy);
    rw_tiles_free(dx);
    rw_tiles_free(x);
    rw_store_free(s);
}

static void test_a_step_allocates_nothing(void)
{
    static const int64_t BATCHES[] = { 1, 2, 50, 600 };
    FOR_EACH_KERNELS(k)
        for (int g = 0; g < 4; g++)
            for (int b = 0; b < 4; b++)
                step_without_memory(k, GROUPS[g], BATCHES[b], 1 + b % 3);
}

#endif
