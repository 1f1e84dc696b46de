/* bf16.h -- products of bfloat16 have the bits of products of rounded operands. */
#ifndef RW_TEST_BF16_H
#define RW_TEST_BF16_H

#include "kernels/kernels_bf16.h"
#include "ops/bf16.h"
#include "tuned.h"

/* --- rounding ---------------------------------------------------------------- */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* By comparing the two neighbours. */
static float nearest_bf16(float x)
{
    uint32_t low = bits_of(x) & 0xffff0000u, high = low + 0x10000u;
    if (isnan(x))
        return float_of(low | 0x400000u);
    if (isinf(x) || (bits_of(x) & 0x7f800000u) == 0)
        return isinf(x) ? x : copysignf(0, x);
    double beyond = isinf(float_of(high)) ? ldexp(1, 128) : fabs((double)float_of(high));
    double below = fabs((double)x) - fabs((double)float_of(low)), above = beyond - fabs((double)x);
    return below < above || (below == above && !(low & 0x10000u)) ? float_of(low) : float_of(high);
}

/* Every upper half, with lower halves around those where rounding turns. */
static void test_every_number_is_rounded_to_the_nearest(void)
{
    static const uint32_t BELOW[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff };
    enum { N = 6, BLOCK = N * 0x100, ROOM = BLOCK + RW_BF16_BLOCK };
    static float x[ROOM], y[ROOM];
    static uint16_t narrow[ROOM];
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    uint64_t mode = rw_tiny_is_zero(); /* as tasks do */
    for (uint32_t first = 0; first < 0x10000u; first += 0x100) {
        for (uint32_t i = 0; i < BLOCK; i++)
            x[i] = float_of((first + i / N) << 16 | BELOW[i % N]);
        for (int s = 0; s < n; s++) {
            list[s]->round_bf16(x, y, BLOCK);
            for (int i = 0; i < BLOCK; i++)
                CHECK(bits_of(y[i]) == bits_of(nearest_bf16(x[i])));
            if (!list[s]->bf16)
                continue;
            list[s]->bf16->narrow(x, narrow, BLOCK);
            for (int i = 0; i < BLOCK; i++) { /* sample l high, l + 16 low */
                int l = i % RW_BF16_BLOCK, at = i - l + 2 * (l % 16) + (l < 16);
                CHECK((uint32_t)narrow[at] << 16 == bits_of(y[i]));
            }
        }
    }
    rw_tiny_restore(mode);
}

/* --- products ------------------------------------------------------------------ */

static void round_store(rw_store *s)
{
    float *w = (void *)s->field[RW_WEIGHT].data;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t i = s->start[g] * s->group; i < (s->start[g] + s->len[g]) * s->group; i++)
            w[i] = nearest_bf16(w[i]);
}

static rw_tiles *rounded_copy(const rw_tiles *t)
{
    rw_tiles *copy = tiles_copy(t);
    float *values = (void *)copy->data;
    for (size_t i = 0; i < copy->bytes / sizeof *values; i++)
        values[i] = nearest_bf16(values[i]);
    return copy;
}

/* What one layer's products write, in bfloat16 or of operands that have been rounded. */
typedef struct {
    rw_store *s;
    const rw_tiles *x, *dy;
    rw_tiles *y, *dx;
    int32_t grad;
    float *bias;
} bf16_case;

static bf16_case bf16_case_of(const rw_store *s, const rw_tiles *x, const rw_tiles *dy)
{
    bf16_case c = { .s = clone_of(s), .x = x, .dy = dy, .y = tiles_copy(dy), .dx = tiles_copy(x),
                    .bias = bias_of(s->n_out, RW_F32) };
    c.grad = add_field(c.s, "grad");
    (void)add_field(c.s, "momentum");
    return c;
}

static void bf16_case_free(bf16_case *c)
{
    rw_free(c->bias, (size_t)(c->s->n_out + RW_ROW_PAD) * sizeof(double));
    rw_tiles_free(c->dx);
    rw_tiles_free(c->y);
    rw_store_free(c->s);
}

static rw_update bf16_step(void)
{
    return (rw_update){ .kind = RW_OPT_SGD, .lr = 0.1, .momentum = 0.9, .step = 1,
                        .state = { "momentum" } };
}

static void run_rounded(const rw_kernels *k, bf16_case *c)
{
    rw_update u = bf16_step();
    size_t bytes = (size_t)rw_scratch_values(k, c->s, c->dy) * sizeof(float);
    void *scratch = rw_alloc(bytes);
    rw_store *narrow = clone_of(c->s);
    REQUIRE(scratch);
    round_store(narrow);
    rw_tiles *x = rounded_copy(c->x), *dy = rounded_copy(c->dy);
    CHECK_STATUS(rw_forward(k, narrow, x, c->bias, RW_ACT_RELU, 0, c->y, NULL, &ALONE), RW_OK);
    CHECK_STATUS(rw_backward_input(k, narrow, dy, c->dx, &ALONE), RW_OK);
    CHECK_STATUS(rw_backward_weights(k, c->s, x, dy, c->grad, false, NULL, &ALONE), RW_OK);
    CHECK_STATUS(rw_backward_weights(k, c->s, x, dy, c->grad, true, scratch, &ALONE), RW_OK);
    CHECK_STATUS(rw_backward_update(k, c->s, x, dy, &u, scratch, &ALONE), RW_OK);
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_store_free(narrow);
    rw_free(scratch, bytes);
}

/* The same bits, or both no numbers. */
static bool same_numbers(const void *a, const void *b, int64_t n)
{
    const float *x = a, *y = b;
    for (int64_t i = 0; i < n; i++)
        if (bits_of(x[i]) != bits_of(y[i]) && !(isnan(x[i]) && isnan(y[i])))
            return false;
    return true;
}

/* Packed gradients are those of the field, and nothing is written behind them. */
static void check_packed(const rw_kernels *k, const bf16_case *c, const rw_bf16_operands *of, void *room,
                         const rw_run *run)
{
    const rw_field *field = &c->s->field[c->grad];
    int64_t values = c->s->slots * c->s->group;
    int64_t *before = malloc(((size_t)c->s->n_groups + 1) * sizeof *before);
    float *dw = malloc(((size_t)values + 1) * sizeof *dw);
    REQUIRE(before && dw);
    dw[values] = 1;
    rw_csr_indptr(c->s, before);
    CHECK_STATUS(rw_bf16_packed_gradients(k, c->s, of, before, dw, room, run), RW_OK);
    for (int32_t g = 0; g < c->s->n_groups; g++)
        CHECK(same_numbers(field->data + (size_t)c->s->start[g] * rw_slot_bytes(field),
                           dw + before[g] * c->s->group, (int64_t)c->s->len[g] * c->s->group));
    CHECK(dw[values] == 1);
    free(dw);
    free(before);
}

/* With `once`, x and dy are rounded before. */
static void run_bf16(const rw_kernels *k, bf16_case *c, bool once, int threads)
{
    rw_run run = { threads, NULL, NULL };
    rw_update u = bf16_step();
    size_t bytes = (size_t)threads * (size_t)rw_bf16_scratch_values(k, c->s, c->dy) * sizeof(float);
    once = once && rw_bf16_has_kernels(k, c->x);
    size_t size = rw_bf16_room(k, c->s, c->x, once);
    void *scratch = rw_alloc(bytes), *room = rw_alloc(size);
    REQUIRE(scratch && room);
    rw_bf16_operands of = { .x = c->x, .dy = c->dy };
    rw_tiles *x = NULL, *dy = NULL;
    if (once) {
        of.rounded_x = x = tiles_new(c->x->n, c->x->batch, c->x->tile, RW_BF16);
        of.rounded_dy = dy = tiles_new(c->dy->n, c->dy->batch, c->dy->tile, RW_BF16);
        CHECK_STATUS(rw_bf16_round(k, c->x, x, &run), RW_OK);
        CHECK_STATUS(rw_bf16_round(k, c->dy, dy, &run), RW_OK);
    }
    CHECK_STATUS(rw_bf16_forward(k, c->s, c->x, x, c->bias, RW_ACT_RELU, 0, c->y, NULL, room, &run), RW_OK);
    CHECK_STATUS(rw_bf16_backward_input(k, c->s, c->dy, dy, c->dx, room, &run), RW_OK);
    CHECK_STATUS(rw_bf16_backward_weights(k, c->s, &of, c->grad, false, NULL, room, &run), RW_OK);
    check_packed(k, c, &of, room, &run);
    CHECK_STATUS(rw_bf16_backward_weights(k, c->s, &of, c->grad, true, scratch, room, &run), RW_OK);
    CHECK_STATUS(rw_bf16_backward_update(k, c->s, &of, &u, scratch, room, &run), RW_OK);
    rw_tiles_free(dy);
    rw_tiles_free(x);
    rw_free(room, size);
    rw_free(scratch, bytes);
}

static void check_same_case(const bf16_case *a, const bf16_case *b)
{
    CHECK(same_numbers(a->y->data, b->y->data, (int64_t)(a->y->bytes / sizeof(float))));
    CHECK(same_numbers(a->dx->data, b->dx->data, (int64_t)(a->dx->bytes / sizeof(float))));
    for (int32_t f = 0; f < a->s->n_fields; f++)
        for (int32_t g = 0; g < a->s->n_groups; g++) {
            size_t at = (size_t)a->s->start[g] * rw_slot_bytes(&a->s->field[f]);
            CHECK(same_numbers(a->s->field[f].data + at, b->s->field[f].data + at,
                               (int64_t)a->s->len[g] * a->s->group));
        }
}

/* Kernels whose products are cut into panels of a slot or two. */
static rw_kernels cut_small(const rw_kernels *k, rw_bf16_kernels *room)
{
    rw_kernels small = *k;
    small.tuning = &SMALLEST;
    if (k->bf16) {
        *room = *k->bf16;
        room->tuning = &SMALLEST;
        small.bf16 = room;
    }
    return small;
}

/* Every group and length of rows, odd ones too; batches around blocks, tiles and spans. */
static void test_bf16_has_the_bits_of_rounded_operands(void)
{
    static const int64_t BATCHES[] = { 1, 9, 17, 32, 33, 50, 64, 65, 97, 128, 200, RW_SPAN + 70 };
    enum { N_BATCHES = (int)(sizeof BATCHES / sizeof *BATCHES) };
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    for (int set = 0; set < n; set++)
        for (int g = 0; g < 4; g++) {
            const rw_kernels *k = list[set];
            int32_t group = GROUPS[g], n_out = N_LENGTHS * group - (group > 1), n_in = LONGEST;
            rw_store *s = store_of(n_out, n_in, group, group, RW_F32);
            for (int i = k->bf16 ? g % NEXT_PAIR : g; i < N_BATCHES; i += k->bf16 ? NEXT_PAIR : 4) {
                int32_t tile = rw_tile_size(BATCHES[i], RW_F32) << (i % 5 == 4 ? 1 : 0);
                rw_tiles *x = tiles_of(3, n_in, BATCHES[i], tile, RW_F32);
                rw_tiles *dy = tiles_of(4, n_out, BATCHES[i], tile, RW_F32);
                bf16_case expected = bf16_case_of(s, x, dy), found = bf16_case_of(s, x, dy);
                run_rounded(k, &expected);
                run_bf16(k, &found, i % 2, 1 + i % 3);
                check_same_case(&expected, &found);
                CHECK(padding_is_zero(found.y) && padding_is_zero(found.dx));
                rw_bf16_kernels narrow;
                rw_kernels small = cut_small(k, &narrow);
                bf16_case cut = bf16_case_of(s, x, dy);
                run_bf16(&small, &cut, true, 2);
                check_same_case(&expected, &cut);
                bf16_case_free(&cut);
                bf16_case_free(&found);
                bf16_case_free(&expected);
                rw_tiles_free(dy);
                rw_tiles_free(x);
            }
            rw_store_free(s);
        }
}

/* Infinities, no numbers, zeros of both signs and subnormal numbers among the operands: a slot without a
 * partner adds nothing beside its own product. */
static void test_bf16_of_strange_numbers(void)
{
    static const uint32_t STRANGE[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0x80000000u, 0,
                                        0x00000001u, 0x807fffffu, 0x7f7fffffu, 0x00800000u };
    enum { N_STRANGE = (int)(sizeof STRANGE / sizeof *STRANGE), BATCH = 64 };
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    for (int set = 0; set < n; set++)
        for (int g = 0; g < 4; g++) {
            int32_t group = GROUPS[g], n_out = N_LENGTHS * group, n_in = LONGEST;
            rw_store *s = store_of(n_out, n_in, group, group, RW_F32);
            rw_tiles *x = tiles_of(3, n_in, BATCH, 64, RW_F32);
            rw_tiles *dy = tiles_of(4, n_out, BATCH, 64, RW_F32);
            float *w = (void *)s->field[RW_WEIGHT].data;
            for (int64_t i = 0; i < s->slots * group; i += 7)
                w[i] = float_of(STRANGE[i % N_STRANGE]);
            for (int i = 0; i < n_in * BATCH; i += 97)
                ((float *)(void *)x->data)[i] = float_of(STRANGE[i % N_STRANGE]);
            for (int i = 0; i < n_out * BATCH; i += 89)
                ((float *)(void *)dy->data)[i] = float_of(STRANGE[i % N_STRANGE]);
            bf16_case expected = bf16_case_of(s, x, dy), found = bf16_case_of(s, x, dy);
            run_rounded(list[set], &expected);
            run_bf16(list[set], &found, g % 2, 1);
            check_same_case(&expected, &found);
            bf16_case_free(&found);
            bf16_case_free(&expected);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
}

/* A sum that is -0 stays so where its row has an odd number of slots. */
static void test_bf16_keeps_the_sign_of_a_zero(void)
{
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    int64_t indptr[] = { 0, 1 };
    int32_t source = 0;
    float weight = -1, bias[RW_ROW_PAD] = { -0.0f };
    rw_fault at;
    for (int set = 0; set < n; set++) {
        rw_store *s = rw_store_new(1, 1, 1, RW_F32);
        REQUIRE(s && rw_csr_load(s, indptr, &source, &weight, &at) == RW_OK);
        rw_tiles *x = tiles_new(1, 32, 32, RW_F32), *y = tiles_new(1, 32, 32, RW_F32); /* -1 * 0 */
        size_t size = rw_bf16_room(list[set], s, x, false);
        void *room = rw_alloc(size);
        REQUIRE(room);
        CHECK_STATUS(rw_bf16_forward(list[set], s, x, NULL, bias, RW_ACT_LINEAR, 0, y, NULL, room, &ALONE),
                     RW_OK);
        CHECK(tile_get(y, 0, 0) == 0 && signbit(tile_get(y, 0, 0)));
        rw_free(room, size);
        rw_tiles_free(y);
        rw_tiles_free(x);
        rw_store_free(s);
    }
}

/* Where all products of a lane are so small that they are -0, a zero in dW has this sign or that one; with
 * whole blocks of samples there is no padding, and it is the same. */
static void test_bf16_of_products_too_small(void)
{
    static const int32_t SAMPLES[] = { 48, 64 };
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    int64_t indptr[] = { 0, 1 };
    int32_t source = 0;
    float weight = 1;
    rw_fault at;
    for (int set = 0; set < n; set++)
        for (int i = 0; i < 2; i++) {
            rw_store *s = rw_store_new(1, 1, 1, RW_F32);
            REQUIRE(s && rw_csr_load(s, indptr, &source, &weight, &at) == RW_OK);
            rw_tiles *x = tiles_new(1, SAMPLES[i], 64, RW_F32), *dy = tiles_new(1, SAMPLES[i], 64, RW_F32);
            for (int b = 0; b < SAMPLES[i]; b++) {
                put(RW_F32, x->data, place_in(x, 0, b), 0x1p-66);
                put(RW_F32, dy->data, place_in(dy, 0, b), -0x1p-66);
            }
            bf16_case expected = bf16_case_of(s, x, dy), found = bf16_case_of(s, x, dy);
            run_rounded(list[set], &expected);
            run_bf16(list[set], &found, false, 1);
            double dw = weight_at(found.s, found.grad, 0, 0);
            CHECK(dw == 0 && weight_at(expected.s, expected.grad, 0, 0) == 0);
            CHECK(i == 0 || fields_same(expected.s, found.s, found.grad));
            bf16_case_free(&found);
            bf16_case_free(&expected);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
}

/* 1.5 * 10^8 multiply-adds: more than a poll lies in between. */
static void test_a_poll_can_stop_products_of_bf16(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL);
    rw_store *s = store_of(3300, 1000, 2, 2, RW_F32);
    int32_t grad = add_field(s, "grad");
    rw_update u = { .kind = RW_OPT_SGD, .lr = 0.1, .step = 1 };
    rw_tiles *x = tiles_of(3, 1000, 256, 64, RW_F32), *dx = tiles_copy(x);
    rw_tiles *dy = tiles_of(4, 3300, 256, 64, RW_F32), *y = tiles_copy(dy);
    rw_bf16_operands of = { .x = x, .dy = dy };
    size_t bytes = (size_t)rw_bf16_scratch_values(k, s, dy) * sizeof(float);
    size_t size = rw_bf16_room(k, s, x, false);
    void *scratch = rw_alloc(bytes), *room = rw_alloc(size);
    REQUIRE(scratch && room);
    for (int i = 0; i < PATIENCES; i++)
        for (int op = 0; op < 5; op++) {
            int left = PATIENCE[i];
            rw_run run = { 1, count_poll, &left };
            rw_status found =
                op == 0   ? rw_bf16_forward(k, s, x, NULL, NULL, RW_ACT_LINEAR, 0, y, NULL, room, &run)
                : op == 1 ? rw_bf16_backward_input(k, s, dy, NULL, dx, room, &run)
                : op == 2 ? rw_bf16_backward_weights(k, s, &of, grad, false, NULL, room, &run)
                : op == 3 ? rw_bf16_backward_weights(k, s, &of, grad, true, scratch, room, &run)
                          : rw_bf16_backward_update(k, s, &of, &u, scratch, room, &run);
            CHECK_STATUS(found, PATIENCE[i] ? RW_OK : RW_EINTR);
            CHECK(left < PATIENCE[i]);
        }
    rw_free(room, size);
    rw_free(scratch, bytes);
    rw_tiles_free(y);
    rw_tiles_free(dy);
    rw_tiles_free(dx);
    rw_tiles_free(x);
    rw_store_free(s);
}

/* Room for tiles is not taken where they are rounded already, and float32 takes twice as much. */
static void test_bf16_takes_no_room_for_what_is_rounded(void)
{
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    rw_store *s = store_of(40, 130, 4, 4, RW_F32);
    rw_tiles *x = tiles_new(130, 512, 64, RW_F32);
    size_t plain = rw_bf16_room(list[n - 1], s, x, false), tiles = x->bytes;
    for (int set = 0; set < n; set++) {
        bool has = rw_bf16_has_kernels(list[set], x);
        size_t room = rw_bf16_room(list[set], s, x, false), rounded = rw_bf16_room(list[set], s, x, true);
        CHECK(has ? room < plain * 2 / 3 && rounded < room - tiles / 2 : room == plain && rounded == plain);
    }
    rw_tiles_free(x);
    rw_store_free(s);
}

/* Without links there is nothing to round, nor any memory of weights. */
static void test_bf16_of_an_empty_layer(void)
{
    int n;
    const rw_kernels *const *list = rw_kernels_list(RW_F32, &n);
    for (int set = 0; set < n; set++)
        for (int g = 0; g < 4; g++) {
            rw_store *s = rw_store_new(11, 12, GROUPS[g], RW_F32);
            REQUIRE(s);
            rw_tiles *x = tiles_of(3, 12, 70, 64, RW_F32), *dy = tiles_of(4, 11, 70, 64, RW_F32);
            bf16_case expected = bf16_case_of(s, x, dy), found = bf16_case_of(s, x, dy);
            run_rounded(list[set], &expected);
            run_bf16(list[set], &found, true, 1);
            check_same_case(&expected, &found);
            bf16_case_free(&found);
            bf16_case_free(&expected);
            rw_tiles_free(dy);
            rw_tiles_free(x);
            rw_store_free(s);
        }
}

static void test_bf16_refuses(void)
{
    const rw_kernels *k = rw_kernels_named(RW_F32, NULL), *k64 = rw_kernels_named(RW_F64, NULL);
    rw_store *s = store_of(8, 12, 1, 1, RW_F32), *wide = store_of(8, 12, 1, 1, RW_F64);
    rw_tiles *x = tiles_of(3, 12, 40, 64, RW_F32), *y = tiles_of(4, 8, 40, 64, RW_F32);
    rw_tiles *x64 = tiles_of(3, 12, 40, 32, RW_F64), *y64 = tiles_of(4, 8, 40, 32, RW_F64);
    rw_tiles *narrow = tiles_new(12, 40, 64, RW_BF16), *other = tiles_new(11, 40, 64, RW_BF16);
    size_t size = rw_bf16_room(k, s, x, false);
    void *room = rw_alloc(size);
    REQUIRE(room);
    rw_run asked = { 1, count_poll, NULL };
    CHECK_STATUS(rw_bf16_forward(k, s, y, NULL, NULL, RW_ACT_LINEAR, 0, y, NULL, room, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_bf16_backward_input(k, s, x, NULL, x, room, &ALONE), RW_ESHAPE);
    CHECK_STATUS(rw_bf16_forward(k64, wide, x64, NULL, NULL, RW_ACT_LINEAR, 0, y64, NULL, room, &ALONE),
                 RW_ESHAPE);
    CHECK_STATUS(rw_bf16_round(k, x, other, &asked), RW_ESHAPE);
    CHECK_STATUS(rw_bf16_round(k64, x64, narrow, &asked), RW_ESHAPE);
    CHECK_STATUS(rw_bf16_round(k, x, narrow, &ALONE), k->bf16 ? RW_OK : RW_ESHAPE);
    CHECK(!rw_bf16_has_kernels(rw_kernels_named(RW_F32, "scalar"), x));
    CHECK_STATUS(rw_store_add_field(s, "half", RW_BF16, 1, 0.0), RW_ESHAPE);
    rw_tiles huge = *x;
    huge.batch = INT64_MAX / 2;
    CHECK(rw_bf16_room(k, s, &huge, false) == 0 && rw_bf16_room(k, s, &huge, true) == 0);
    rw_free(room, size);
    rw_tiles_free(other);
    rw_tiles_free(narrow);
    rw_tiles_free(y64);
    rw_tiles_free(x64);
    rw_tiles_free(y);
    rw_tiles_free(x);
    rw_store_free(wide);
    rw_store_free(s);
}

#endif
