/* topkast.h -- links that learn and are not used. Stands on deepr.h: its stores. */

#include "rules/topkast.h"

/* Fields 2 and 3: thetas that are the weights, but 7 in rows beyond n_out, and a mask that is 1. */
static void add_thetas(rw_store *s)
{
    rw_dtype dtype = s->field[0].dtype;
    REQUIRE(rw_store_add_field(s, "theta", dtype, s->group, 0.0) == RW_OK);
    REQUIRE(rw_store_add_field(s, "mask", RW_U8, 1, 1.0) == RW_OK);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t i = s->start[g] * s->group; i < (s->start[g] + s->len[g]) * s->group; i++)
            value_put(dtype, s->field[2].data, i,
                      i % s->group < rw_group_rows(s, g) ? value_get(&s->field[0], i) : 7.0);
}

/* What a theta is after a penalty, as the header says it. */
static double penalized(double v, const rw_topkast_penalty *by, bool forward)
{
    double rate = forward ? by->forward : by->backward;
    if (!by->magnitudes)
        return v - v * rate;
    return fabs(v) <= rate ? 0.0 : v - (v > 0 ? rate : -rate);
}

/* Weights follow from thetas, whatever they were; on any number of threads. */
static void test_weights_follow_from_thetas(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++)
            for (int magnitudes = 0; magnitudes < 2; magnitudes++) {
                const rw_topkast_penalty by = { 0.125, 0.25, magnitudes };
                rw_dtype t = (rw_dtype)dtype;
                rw_store *s = store_of_weights(900 - (group > 1), 400, group, t);
                add_thetas(s);
                for (int32_t g = 0; g < s->n_groups; g++)
                    for (int32_t k = 0; k < s->len[g]; k++)
                        s->field[3].data[s->start[g] + k] = (char)random_below(2);
                rw_store *before = rw_store_clone(s), *after = rw_store_clone(s);
                CHECK_STATUS(rw_topkast_derive(after, 2, 3, &by, &ALONE), RW_OK);
                double bound = dtype == RW_F32 ? 3e-7 : 1e-15;
                bool good = true;
                for (int32_t g = 0; g < before->n_groups; g++)
                    for (int64_t i = before->start[g] * group;
                         i < (before->start[g] + before->len[g]) * group; i++) {
                        bool forward = before->field[3].data[i / group];
                        double theta = penalized(value_get(&before->field[2], i), &by, forward);
                        good &= fabs(value_get(&after->field[2], i) - theta) <= bound;
                        bool real = i % group < rw_group_rows(before, g);
                        good &= value_get(&after->field[0], i)
                                == (forward && real ? value_get(&after->field[2], i) : 0.0);
                    }
                CHECK(good && is_sound(after));
                for (int threads = 2; threads <= 5; threads += 3) {
                    rw_store *shared = rw_store_clone(s);
                    rw_run run = { threads, NULL, NULL };
                    CHECK_STATUS(rw_topkast_derive(shared, 2, 3, &by, &run), RW_OK);
                    CHECK(same_contents(shared, after));
                    rw_store_free(shared);
                }
                int32_t full = 0;
                while (!after->len[full])
                    full++;
                int64_t first = after->start[full];
                value_put(t, after->field[2].data, first * group, NAN);
                after->field[3].data[first] = 1;
                CHECK_STATUS(rw_topkast_derive(after, 2, 3, &by, &ALONE), RW_OK);
                CHECK(isnan(value_get(&after->field[0], first * group)));
                CHECK_STATUS(rw_topkast_derive(after, 0, 3, &by, &ALONE), RW_ESHAPE);
                CHECK_STATUS(rw_topkast_derive(after, 3, 3, &by, &ALONE), RW_ESHAPE);
                CHECK_STATUS(rw_topkast_derive(after, 2, 2, &by, &ALONE), RW_ESHAPE);
                rw_store_free(after);
                rw_store_free(before);
                rw_store_free(s);
            }
    CHECK(rw_mem_live == 0);
}

/* Every second slot of some groups changes sides: no theta changes, and no other weight. */
static void test_the_forward_set_changes(void)
{
    enum { MOST = 4000 };
    static int32_t group_of[MOST], source_of[MOST];
    static uint8_t up[MOST];
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = store_of_weights(90 * group - (group > 1), 800, group, (rw_dtype)dtype);
            add_thetas(s);
            int64_t n = 0;
            for (int32_t g = 0; g < s->n_groups; g += 3)
                for (int32_t k = 0; k < s->len[g]; k += 2, n++) {
                    group_of[n] = g;
                    source_of[n] = s->source[s->start[g] + k];
                    up[n] = (uint8_t)(k % 4 == 0); /* half of them are what they were */
                }
            REQUIRE(n > 2 && n <= MOST);
            rw_store *before = rw_store_clone(s), *after = rw_store_clone(s);
            CHECK_STATUS(rw_topkast_select(after, 2, 3, n, group_of, source_of, up), RW_OK);
            CHECK(is_sound(after));
            for (int32_t g = 0; g < s->n_groups; g++)
                for (int64_t i = before->start[g] * group;
                     i < (before->start[g] + before->len[g]) * group; i++) {
                    int64_t k = i / group - before->start[g];
                    bool forward = g % 3 || k % 2 || k % 4 == 0;
                    double v = value_get(&before->field[2], i);
                    CHECK(after->field[3].data[i / group] == (char)forward);
                    bool real = i % group < rw_group_rows(before, g);
                    CHECK(value_get(&after->field[0], i) == (forward && real ? v : 0.0));
                    CHECK(value_get(&after->field[2], i) == v);
                }
            memset(up, 1, (size_t)n);
            CHECK_STATUS(rw_topkast_select(after, 2, 3, n, group_of, source_of, up), RW_OK);
            CHECK(same_contents(after, before));

            up[0] = 0; /* one that is not there, and nothing has happened */
            int32_t last = source_of[n - 1];
            source_of[n - 1] = s->n_in;
            CHECK_STATUS(rw_topkast_select(after, 2, 3, n, group_of, source_of, up), RW_ENOENT);
            source_of[n - 1] = source_of[n - 2]; /* named twice, or below the one before */
            group_of[n - 1] = group_of[n - 2];
            CHECK_STATUS(rw_topkast_select(after, 2, 3, n, group_of, source_of, up), RW_ENOENT);
            source_of[n - 1] = last;
            group_of[n - 1] = s->n_groups;
            CHECK_STATUS(rw_topkast_select(after, 2, 3, n, group_of, source_of, up), RW_ENOENT);
            CHECK_STATUS(rw_topkast_select(after, 0, 3, n, group_of, source_of, up), RW_ESHAPE);
            CHECK(same_contents(after, before));
            rw_store_free(after);
            rw_store_free(before);
            rw_store_free(s);
        }
    CHECK(rw_mem_live == 0);
}
