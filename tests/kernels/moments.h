/* moments.h -- columns of numbers, beside sums in long double; of any magnitude. */

enum { MOMENT_ROWS = 9, MOMENT_COLUMNS = 5 };

static double spread_out(int row, int column)
{
    return column == 3 ? 0.1 : sin(7.0 * row + column + 1) * (column + 1) + column;
}

static void test_column_sums(void)
{
    double x[MOMENT_ROWS * MOMENT_COLUMNS], dense[5 * MOMENT_COLUMNS], listed[5 * MOMENT_COLUMNS];
    double value[MOMENT_ROWS * MOMENT_COLUMNS];
    int32_t column[MOMENT_ROWS * MOMENT_COLUMNS];
    int64_t entries = 0;
    const int64_t n = MOMENT_COLUMNS;
    for (int i = 0; i < MOMENT_ROWS; i++)
        for (int j = 0; j < n; j++) {
            x[i * n + j] = j == 4 && i % 3 ? 0 : spread_out(i, j);
            if (x[i * n + j] != 0) {
                column[entries] = j;
                value[entries++] = x[i * n + j];
            }
        }
    rw_column_sums to = {dense, dense + n, dense + 2 * n, dense + 3 * n, dense + 4 * n};
    rw_column_sums too = {listed, listed + n, listed + 2 * n, listed + 3 * n, listed + 4 * n};
    rw_sum_columns(x, MOMENT_ROWS, n, &to);
    CHECK(rw_sum_entries(column, value, entries, MOMENT_ROWS, n, &too));
    for (int j = 0; j < n; j++) {
        double mean = 0, squares = 0, low = x[j], high = x[j];
        for (int i = 0; i < MOMENT_ROWS; i++)
            mean += x[i * n + j];
        mean /= MOMENT_ROWS;
        for (int i = 0; i < MOMENT_ROWS; i++) {
            double v = x[i * n + j];
            squares += (v - mean) * (v - mean);
            low = fmin(low, v);
            high = fmax(high, v);
        }
        CHECK(to.stored[j] == MOMENT_ROWS && to.mean[j] == mean && to.squares[j] == squares);
        CHECK(to.low[j] == low && to.high[j] == high);
        CHECK(too.mean[j] == mean && too.low[j] == low && too.high[j] == high);
        CHECK(fabs(too.squares[j] - squares) <= 1e-14 * squares);
        CHECK(too.stored[j] == (j == 4 ? 3 : MOMENT_ROWS));
    }
    column[2] = MOMENT_COLUMNS;
    CHECK(!rw_sum_entries(column, value, entries, MOMENT_ROWS, n, &too));
    column[2] = -1;
    CHECK(!rw_sum_entries(column, value, entries, MOMENT_ROWS, n, &too));
}

/* Moments of all rows are those of two parts together, whatever the power of two; the merged ones
 * of a column that has never varied stay where it is. */
static void test_merged_moments(void)
{
    static const int levels[] = {0, 199, -199, 500, -500, 1015, -1000};
    const double part = 4.0 / MOMENT_ROWS, rounding = MOMENT_ROWS * 0x1p-52;
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++)
        for (int j = 0; j < MOMENT_COLUMNS; j++) {
            double mean[3] = {0, 0, 0}, deviation[3] = {0, 0, 0};
            static const int begin[] = {0, 5, 0}, end[] = {5, MOMENT_ROWS, MOMENT_ROWS};
            for (int k = 0; k < 3; k++) {
                double squares = 0, count = end[k] - begin[k];
                for (int i = begin[k]; i < end[k]; i++)
                    mean[k] += spread_out(i, j) / count;
                for (int i = begin[k]; i < end[k]; i++)
                    squares += pow(spread_out(i, j) - mean[k], 2) / count;
                deviation[k] = ldexp(j == 3 ? 0 : sqrt(squares), levels[l]);
                mean[k] = ldexp(mean[k], levels[l]);
            }
            rw_merge_moments(1, part, rounding, mean, deviation, mean + 1, deviation + 1);
            CHECK(fabs(mean[0] - mean[2]) <= 1e-14 * (fabs(mean[2]) + deviation[2]));
            CHECK(fabs(deviation[0] - deviation[2]) <= 1e-13 * deviation[2]);
            CHECK(j != 3 || deviation[0] == 0);
        }
    double mean = 1, deviation = 0, other = 2, none = 0;
    rw_merge_moments(1, 0.5, rounding, &mean, &deviation, &other, &none);
    CHECK(mean == 1.5 && deviation == 0.5);
}

static void test_deviations(void)
{
    const double mean[] = {3, 0, 1e8, 1e300}, squares[] = {40, 0, 1e-16, INFINITY};
    double deviation[4];
    const double rounding = 10 * 0x1p-52;
    CHECK(!rw_deviations(4, 10, rounding, mean, squares, deviation));
    CHECK(deviation[0] == 2 && deviation[1] == 0 && deviation[2] == 0);
    CHECK(rw_deviations(1, 10, rounding, mean, squares, deviation) && deviation[0] == 2);
}

/* A block at once is what its sums and deviations are one after the other, and refuses what is far from 1. */
static void test_block_moments(void)
{
    double x[MOMENT_ROWS * MOMENT_COLUMNS], one[5 * MOMENT_COLUMNS], two[5 * MOMENT_COLUMNS];
    double deviation[MOMENT_COLUMNS];
    const int64_t n = MOMENT_COLUMNS;
    const double rounding = MOMENT_ROWS * 0x1p-52;
    for (int i = 0; i < MOMENT_ROWS * n; i++)
        x[i] = spread_out(i / MOMENT_COLUMNS, i % MOMENT_COLUMNS);
    rw_column_sums to = {one, one + n, one + 2 * n, one + 3 * n, one + 4 * n};
    rw_column_sums sums = {two, two + n, two + 2 * n, two + 3 * n, two + 4 * n};
    rw_sum_columns(x, MOMENT_ROWS, n, &sums);
    rw_deviations(n, MOMENT_ROWS, rounding, sums.mean, sums.squares, deviation);
    CHECK(rw_block_moments(x, MOMENT_ROWS, n, rounding, 0x1p-700, 0x1p800, &to));
    for (int j = 0; j < n; j++) {
        CHECK(to.squares[j] == deviation[j] && to.low[j] == sums.low[j] && to.high[j] == sums.high[j]);
        CHECK(to.mean[j] == (j == 3 ? 0.1 : sums.mean[j]));
    }
    CHECK(to.squares[3] == 0);
    x[1] = 0x1p500; /* its square has no number */
    CHECK(!rw_block_moments(x, MOMENT_ROWS, n, rounding, 0x1p-700, 0x1p800, &to));
}

/* A wide column, one with a value far out, and two that never varied: one's rounding is more than 1. */
static void test_column_scales(void)
{
    const double mean[] = {2, 0, 7, 0x1p60}, deviation[] = {4, 1, 0, 0};
    const double low[] = {-2, -1, 7, 0x1p60}, high[] = {12, 50, 7, 0x1p60};
    double scale[4], reach, steepest;
    rw_seen_columns seen = {mean, mean, deviation, low, high};
    rw_column_scales(4, 0x1p-50, 5, &seen, scale, &reach, &steepest);
    CHECK(scale[0] == 0.25 && scale[1] == 0.1 && scale[2] == 1 && scale[3] == 0x1p-10);
    CHECK(reach == 0x1p50 && steepest == 1);
    const double zero[4] = {0};
    seen.center = zero; /* "scale": constants are brought to 5 at most too */
    rw_column_scales(4, 0x1p-50, 5, &seen, scale, &reach, &steepest);
    CHECK(fabs(scale[2] * 7 - 5) < 1e-15 && reach == 0);
    const double tiny = 0x1p-1070;
    rw_seen_columns narrow = {zero, zero, &tiny, zero, &tiny};
    rw_column_scales(1, 0x1p-50, 5, &narrow, scale, &reach, &steepest);
    CHECK(scale[0] == 0x1p1022);
}

static void test_changed_units(void)
{
    const double mean[] = {1, 1, 1, -1.5e308}, scale[] = {1, 8, 1, 1}, deviation[] = {1, 1, 0, 0};
    const double mean2[] = {3, 1, 2, 1.5e308}, scale2[] = {0.5, 1, 0.5, 0x1p-1000};
    const double deviation2[] = {2, 1, 1, 0};
    double gain[4], offset[4];
    rw_units before = {mean, scale, deviation}, after = {mean2, scale2, deviation2};
    rw_change_units(4, 0x1p-20, 1.5, 0.125, &before, &after, gain, offset);
    CHECK(gain[0] == 1.5 && offset[0] == 1.5 && gain[1] == 1.5 && offset[1] == 0);
    CHECK(gain[2] == 0.125 && offset[2] == 0.0625 && gain[3] == 1 && isfinite(offset[3]));
}

static void test_largest(void)
{
    enum { MOST = 37 }; /* more than two rounds of all lanes */
    double wide[MOST];
    float narrow[MOST];
    for (int64_t n = 0; n <= MOST; n++) {
        for (int i = 0; i < MOST; i++)
            narrow[i] = (float)(wide[i] = i % 2 ? -i : i);
        double top = n ? (double)(n - 1) : 0;
        CHECK(rw_largest(wide, n, RW_F64) == top && rw_largest(narrow, n, RW_F32) == top);
        if (n == 0)
            continue;
        for (int64_t at = 0; at < n; at++) {
            wide[at] = at % 2 ? (double)NAN : -(double)NAN;
            narrow[at] = at % 2 ? -INFINITY : INFINITY;
            CHECK(isinf(rw_largest(wide, n, RW_F64)) && isinf(rw_largest(narrow, n, RW_F32)));
            narrow[at] = (float)(wide[at] = 0);
        }
    }
}
