/* draws.h -- random numbers, and the hypergeometric distribution. */

/* --- Philox: known answers (numpy.random.Philox, and the authors' kat_vectors) */

static void test_philox_known_answers(void)
{
    static const struct { uint64_t key[2], counter[4], out[4]; } known[] = {
        { { 0, 0 }, { 0, 0, 0, 0 },
          { 0x16554d9eca36314cu, 0xdb20fe9d672d0fdcu, 0xd7e772cee186176bu, 0x7e68b68aec7ba23bu } },
        { { UINT64_MAX, UINT64_MAX }, { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
          { 0x87b092c3013fe90bu, 0x438c3c67be8d0224u, 0x9cc7d7c69cd777b6u, 0xa09caebf594f0ba0u } },
        { { 0x452821e638d01377u, 0xbe5466cf34e90c6cu },
          { 0x243f6a8885a308d3u, 0x13198a2e03707344u, 0xa4093822299f31d0u, 0x082efa98ec4e6c89u },
          { 0xa528f45403e61d95u, 0x38c72dbd566e9788u, 0xa5a1610e72fd18b5u, 0x57bd43b5e52b7fe6u } },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        rw_philox c;
        memcpy(c.v, known[i].counter, sizeof c.v);
        rw_philox out = rw_philox_block(known[i].key[0], known[i].key[1], c);
        CHECK(memcmp(out.v, known[i].out, sizeof out.v) == 0);
    }
    /* A draw is a block: key (seed, stream), counter (index, row, step, purpose). */
    rw_philox direct = rw_philox_block(7, 8, (rw_philox){ { 4, 3, 9, RW_DRAW_TIE } });
    rw_philox named = rw_draw4((rw_key){ 7, 8, 9 }, RW_DRAW_TIE, 3, 4);
    CHECK(memcmp(direct.v, named.v, sizeof direct.v) == 0);
    rw_seq seq = rw_seq_start((rw_key){ 7, 8, 9 }, RW_DRAW_TIE, 3);
    for (uint64_t i = 0; i < 12; i++)
        CHECK(rw_seq_next(&seq) == rw_draw4((rw_key){ 7, 8, 9 }, RW_DRAW_TIE, 3, i / 4).v[i % 4]);
}

/* rng.h: worker 0 has the streams that there were before there were workers. */
static void test_a_stream_has_a_number_and_a_worker(void)
{
    CHECK(rw_stream(0, 0) == 0 && rw_stream(7, 0) == 7 && rw_stream(UINT32_MAX, 0) == UINT32_MAX);
    CHECK(rw_stream(7, 3) == 0x300000007u && rw_stream(UINT32_MAX, UINT32_MAX) == UINT64_MAX);
}

static void test_bounded_draws_are_fair(void)
{
    rw_seq seq = rw_seq_start((rw_key){ 1, 2, 3 }, RW_DRAW_PLACE, 0);
    int64_t count[7] = { 0 };
    for (int i = 0; i < 70000; i++)
        count[rw_seq_below(&seq, 7)]++;
    double chi2 = 0.0;
    for (int i = 0; i < 7; i++)
        chi2 += (double)((count[i] - 10000) * (count[i] - 10000)) / 10000.0;
    CHECK(chi2 < 28.0); /* 6 degrees of freedom: 1 in 10,000 */
    for (int i = 0; i < 1000; i++) {
        CHECK(rw_seq_below(&seq, 1) == 0);
        double u = rw_unit(rw_seq_next(&seq));
        CHECK(u >= 0.0 && u < 1.0);
    }
    CHECK(rw_unit(UINT64_MAX) < 1.0 && rw_unit(0) == 0.0);
    /* Of 3 * 2^62 values every third would come twice as often, were no word rejected. */
    int64_t third = 0;
    for (int i = 0; i < 30000; i++)
        third += rw_seq_below(&seq, (uint64_t)3 << 62) % 3 == 0;
    CHECK(third > 9600 && third < 10400);
    /* Bounds just above 2^63 reject nearly half of the words: none slips through. */
    for (int i = 0; i < 1000; i++)
        CHECK(rw_seq_below(&seq, ((uint64_t)1 << 63) + 1) <= (uint64_t)1 << 63);
}

/* --- hypergeometric ------------------------------------------------------------ */

/* log of n choose k */
static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

static void test_hypergeometric_mass(void)
{
    static const int64_t cases[][3] = { /* total, marked, draws */
        { 10, 3, 4 }, { 10, 7, 9 }, { 1, 1, 1 }, { 2, 1, 1 }, { 50, 25, 25 }, { 100, 3, 97 },
        { 40, 39, 20 }, { 1000, 500, 6 }, { 30, 30, 12 }, { 30, 0, 12 }, { 30, 12, 0 },
        { 30, 12, 30 },
    };
    enum { GRID = 100000 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t total = cases[i][0], marked = cases[i][1], draws = cases[i][2];
        int64_t low = rw_max64(0, draws + marked - total), high = rw_min64(marked, draws);
        int64_t *count = calloc((size_t)high + 1, sizeof *count);
        REQUIRE(count);
        for (int u = 0; u < GRID; u++) {
            int64_t x = rw_hypergeometric(total, marked, draws, ((double)u + 0.5) / GRID);
            CHECK(x >= low && x <= high);
            if (x >= 0 && x <= high)
                count[x]++;
        }
        /* The u that lead to x have measure p(x), in whichever order they lie. */
        for (int64_t x = low; x <= high; x++) {
            double p = exp(log_choose((double)marked, (double)x)
                           + log_choose((double)(total - marked), (double)(draws - x))
                           - log_choose((double)total, (double)draws));
            CHECK(fabs((double)count[x] / GRID - p) < 4.0 / GRID + 1e-9);
        }
        free(count);
    }
}

static void test_hypergeometric_moments_when_large(void)
{
    static const int64_t cases[][3] = {
        { 1000000, 1000, 5000 }, { 784000, 784, 20000 }, { 1000000000000, 10000000, 300000000 },
        { (int64_t)1 << 52, (int64_t)1 << 31, (int64_t)1 << 30 }, { 3000000, 2999000, 2500000 },
        { 1000000000000, 999999999999, 500000000000 },
    };
    enum { GRID = 20000 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double n = (double)cases[i][0], k = (double)cases[i][1], d = (double)cases[i][2];
        double mean = d * k / n, variance = mean * (n - k) / n * (n - d) / (n - 1.0);
        double sum = 0.0, squares = 0.0;
        for (int u = 0; u < GRID; u++) {
            double x = (double)rw_hypergeometric(cases[i][0], cases[i][1], cases[i][2],
                                                 ((double)u + 0.5) / GRID) - mean;
            sum += x;
            squares += x * x;
        }
        double deviation = sqrt(variance);
        CHECK(fabs(sum / GRID) < 0.01 * deviation + 1e-9 * mean + 1e-4);
        CHECK(fabs(squares / GRID / variance - 1.0) < 0.03);
    }
    /* The ends of the unit interval, and sizes where masses underflow. */
    for (double u = 0.0; u < 1.0; u = u == 0.0 ? 0x1p-53 : u < 0.5 ? u * 2 : 1 - (1 - u) / 2) {
        int64_t x = rw_hypergeometric(10000000000, 5000000000, 4000000000, u);
        CHECK(x >= 0 && x <= 4000000000);
        if (u > 0.9999999999999997)
            break;
    }
}
