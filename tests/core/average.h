/* average.h -- running means of weights, each over the steps that its slot has lived through. */

#include "ops/average.h"

/* What one slot's mean of these values is, in float64. */
static double mean_of(const double *values, int n, double least)
{
    double mean = 0;
    for (int i = 0; i < n; i++) {
        double rate = 1.0 / (i + 1) > least ? 1.0 / (i + 1) : least;
        mean += (values[i] - mean) * rate;
    }
    return mean;
}

enum { AVERAGED_STEPS = 6 };

/* Some slots are older than others; on any number of threads. */
static void test_means_over_the_steps_that_a_slot_has_lived(void)
{
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++)
            for (double least = 0; least <= 0.5; least += 0.25) {
                rw_dtype t = (rw_dtype)dtype;
                rw_store *s = store_of_weights(900 - (group > 1), 400, group, t);
                CHECK_STATUS(rw_store_add_field(s, "mean", t, group, 0.0), RW_OK);
                CHECK_STATUS(rw_store_add_field(s, "steps", RW_I32, 1, 0.0), RW_OK);
                CHECK_STATUS(rw_store_add_field(s, "byte", RW_U8, 1, 0.0), RW_OK);
                int32_t mean = rw_store_field(s, "mean"), count = rw_store_field(s, "steps");
                int32_t byte = rw_store_field(s, "byte");
                rw_store *shared = rw_store_clone(s), *born = rw_store_clone(s);
                REQUIRE(s && shared && born);
                /* In `born` every third slot has seen the last three steps only. */
                for (int step = 0; step < AVERAGED_STEPS; step++) {
                    rw_store *const all[] = { s, shared, born };
                    for (int a = 0; a < 3; a++)
                        for (int32_t g = 0; g < s->n_groups; g++) {
                            int64_t end = (s->start[g] + s->len[g]) * group;
                            for (int64_t i = s->start[g] * group; i < end; i++) {
                                double now = (double)((i * 7 + step * step) % 32);
                                if (i % group < rw_group_rows(s, g))
                                    value_put(t, all[a]->field[0].data, i, now);
                                if (a == 2 && step == 3 && i / group % 3 == 0) {
                                    value_put(t, all[a]->field[mean].data, i, 77.0);
                                    value_put(RW_I32, all[a]->field[count].data, i / group, 0.0);
                                }
                            }
                        }
                    rw_run five = { 5, NULL, NULL };
                    CHECK_STATUS(rw_field_average(s, 0, mean, count, least, &ALONE), RW_OK);
                    CHECK_STATUS(rw_field_average(shared, 0, mean, count, least, &five), RW_OK);
                    CHECK_STATUS(rw_field_average(born, 0, mean, count, least, &five), RW_OK);
                }
                CHECK(same_contents(s, shared) && is_sound(s));
                double bound = dtype == RW_F32 ? 1e-5 : 1e-13;
                bool good = true;
                for (int32_t g = 0; g < s->n_groups; g++)
                    for (int64_t i = s->start[g] * group; i < (s->start[g] + s->len[g]) * group; i++) {
                        double seen[AVERAGED_STEPS] = { 0 };
                        for (int step = 0; step < AVERAGED_STEPS && i % group < rw_group_rows(s, g); step++)
                            seen[step] = (double)((i * 7 + step * step) % 32);
                        bool young = i / group % 3 == 0;
                        double old = mean_of(seen, AVERAGED_STEPS, least);
                        double now = young ? mean_of(seen + 3, AVERAGED_STEPS - 3, least) : old;
                        good &= fabs(value_get(&s->field[mean], i) - old) <= bound;
                        good &= fabs(value_get(&born->field[mean], i) - now) <= bound;
                        good &= value_get(&s->field[count], i / group) == AVERAGED_STEPS;
                        good &= value_get(&born->field[count], i / group) == (young ? 3 : AVERAGED_STEPS);
                    }
                CHECK(good);
                CHECK_STATUS(rw_field_average(s, 0, 0, count, least, &ALONE), RW_ESHAPE);
                CHECK_STATUS(rw_field_average(s, 0, count, count, least, &ALONE), RW_ESHAPE);
                CHECK_STATUS(rw_field_average(s, 0, mean, byte, least, &ALONE), RW_ESHAPE);
                CHECK_STATUS(rw_field_average(s, 0, mean, mean, least, &ALONE), RW_ESHAPE);
                rw_store_free(born);
                rw_store_free(shared);
                rw_store_free(s);
            }
}
