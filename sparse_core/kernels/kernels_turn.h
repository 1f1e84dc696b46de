/* kernels_turn.h -- samples in rows to features in rows and back, a square of registers at a time.
 *
 * Included by kernels_body.h for every register type. There are at least as many samples and
 * features as a register has lanes: where their number is no multiple of that, the last square
 * overlaps the one before, and what both hold is written twice. Samples lie at addresses of their
 * own, features `step` values after each other. */

/* Features of a sample that are turned before the next samples are: whole cache lines, because rows
 * may so lie that the first-level cache keeps few of them. */
#define RW_TURN_FEATURES (RW_LINE / (int32_t)sizeof(RW_T))

/* Samples that are asked for before they are read. */
#define RW_TURN_AHEAD 16

/* Where the square from place k of n on begins. */
#define RW_TURN_AT(k, n) ((k) + RW_LANES <= (n) ? (k) : (n) - RW_LANES)

/* Samples b and on, features i and on; `in` says which of the two are written. */
RW_INLINE void RW_V(turn_square)(char *const *sample, char *feature, size_t step, int32_t b,
                                 int32_t i, const bool in)
{
    char *rows[RW_LANES], *features[RW_LANES];
    feature += ((size_t)i * step + (size_t)b) * sizeof(RW_T);
    RW_UNROLL
    for (int k = 0; k < RW_LANES; k++) {
        rows[k] = sample[b + k] + (size_t)i * sizeof(RW_T);
        features[k] = feature + (size_t)k * step * sizeof(RW_T);
    }
    if (in)
        RW_V(turn)(rows, features);
    else
        RW_V(turn)(features, rows);
}

/* The cache lines of samples that are read RW_TURN_AHEAD samples after b, or with the next lines. */
RW_INLINE void RW_V(turn_fetch)(char *const *sample, int32_t m, int32_t n, int32_t b, int32_t i)
{
    b += RW_TURN_AHEAD;
    if (b >= m) {
        b -= m;
        i += RW_TURN_FEATURES;
    }
    for (int32_t k = 0; k < RW_LANES && b + k < m && i < n; k++)
        RW_PREFETCH(sample[b + k] + (size_t)i * sizeof(RW_T));
}

RW_INLINE void RW_V(turn_squares)(char *const *sample, int32_t m, int32_t n, char *feature,
                                  size_t step, const bool in)
{
    for (int32_t i0 = 0; i0 < n; i0 += RW_TURN_FEATURES)
        for (int32_t b = 0; b < m; b += RW_LANES) {
            if (in)
                RW_V(turn_fetch)(sample, m, n, b, i0);
            for (int32_t i = i0; i < n && i < i0 + RW_TURN_FEATURES; i += RW_LANES)
                RW_V(turn_square)(sample, feature, step, RW_TURN_AT(b, m), RW_TURN_AT(i, n), in);
        }
}

/* m samples of n features, between rows and a tile: into the tile, or out of it. */
RW_OUTLINE void RW_V(turn_in)(char *const *sample, int32_t m, int32_t n, char *feature, size_t step)
{
    RW_V(turn_squares)(sample, m, n, feature, step, true);
}

RW_OUTLINE void RW_V(turn_out)(char *const *sample, int32_t m, int32_t n, char *feature,
                               size_t step)
{
    RW_V(turn_squares)(sample, m, n, feature, step, false);
}

#undef RW_TURN_FEATURES
#undef RW_TURN_AT
#undef RW_TURN_AHEAD
