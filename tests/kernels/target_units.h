/* target_units.h -- which rows of targets count, and what becomes of their units. */

/* Columns: one that goes on, one that is elsewhere after it has varied next to nothing, one that was constant
 * and varies now, one that is constant at another level, and one that is elsewhere and varies as before. */
enum { UNIT_COLUMNS = 5 };

static void test_followed_targets(void)
{
    const double mean[] = {2, 0, 7, 1, 0}, deviation[] = {4, 1, 0, 0, 1}, scale[] = {4, 1, 1, 1, 1};
    const double mean2[] = {2, 900, 8, 5, 90}, deviation2[] = {4, 100, 2, 0, 1};
    const rw_target_moments before = {100, 100, mean, deviation}, found = {10, 10, mean2, deviation2};
    const rw_unit_rules stream = {5, 50, 0.05, true}, sets = {5, 50, 0.05, false};
    double out[6 * UNIT_COLUMNS];
    double *at[6];
    for (int k = 0; k < 6; k++)
        at[k] = out + k * UNIT_COLUMNS;
    rw_new_units to = {at[0], at[1], at[2], at[3], at[4], at[5], false, true};
    uint8_t far[UNIT_COLUMNS];
    rw_elsewhere(UNIT_COLUMNS, 5, &before, &found, far);
    CHECK(!far[0] && far[1] && !far[2] && far[3] && far[4]);

    rw_follow_targets(UNIT_COLUMNS, &stream, 0x1p-52, &before, &found, mean, scale, &to);
    CHECK(!to.equal && !to.near);
    CHECK(to.mean[0] == 2 && to.deviation[0] == 4 && to.gain[0] == 1 && to.shift[0] == 0);
    CHECK(to.fraction[0] == 10.0 / 60);
    CHECK(to.mean[1] == 900 && to.deviation[1] == 100 && to.gain[1] == 1 && to.shift[1] == 0);
    CHECK(to.mean[2] == 8 && to.scale[2] == 2 && to.fraction[2] == 1);
    CHECK(to.mean[3] == 3 && to.deviation[3] == 2 && to.fraction[3] == 1); /* both alike */
    CHECK(to.mean[4] == 45 && to.fraction[4] == 1 && to.gain[4] * to.scale[4] == 1);
    CHECK(to.shift[4] == -45 / to.scale[4]);

    rw_follow_targets(UNIT_COLUMNS, &sets, 0x1p-52, &before, &found, mean, scale, &to);
    CHECK(to.fraction[0] == 0 && to.mean[4] == 90 && to.shift[4] == 0); /* the latter set is to be learnt */

    rw_follow_targets(1, &stream, 0x1p-52, &before, &found, mean, scale, &to);
    CHECK(to.near && !to.equal);
    const rw_target_moments one = {1, 1, mean2, deviation2};
    rw_elsewhere(UNIT_COLUMNS, 5, &before, &one, far);
    CHECK(!far[1] && !far[4]); /* it may be an outlier */
}
