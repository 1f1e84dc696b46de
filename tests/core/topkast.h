/* topkast.h -- links that learn and are not used. Stands on deepr.h: its stores. */

#include "rules/topkast.h"

/* Every second slot of some groups changes sides: its weight is kept, and so are all others. */
static void test_the_forward_set_changes(void)
{
    enum { MOST = 4000 };
    static int32_t group_of[MOST], source_of[MOST];
    static uint8_t up[MOST];
    for (int32_t group = 1; group <= 8; group *= 2)
        for (int dtype = RW_F32; dtype <= RW_F64; dtype++) {
            rw_store *s = store_of_weights(90 * group - (group > 1), 800, group, (rw_dtype)dtype);
            REQUIRE(rw_store_add_field(s, "masked_weight", (rw_dtype)dtype, group, 0.0) == RW_OK);
            REQUIRE(rw_store_add_field(s, "mask", RW_U8, 1, 1.0) == RW_OK);
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
                    double v = value_get(&before->field[0], i);
                    CHECK(after->field[3].data[i / group] == (char)forward);
                    CHECK(value_get(&after->field[0], i) == (forward ? v : 0.0));
                    CHECK(value_get(&after->field[2], i) == (forward ? 0.0 : v));
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
