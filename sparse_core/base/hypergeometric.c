/* Masses come from Loader's "Fast and accurate computation of binomial
 * probabilities" (2000): Stirling's error and the deviance are computed apart,
 * so nothing cancels, however large the counts. */
#include "base/hypergeometric.h"
#include "base/base.h"

#include <math.h>

static double stirling_error(double n) /* log n! - log(sqrt(2 pi n) (n / e)^n) */
{
    if (n < 16)
        return lgamma(n + 1) - (n + 0.5) * log(n) + n - 0.9189385332046727;
    double n2 = n * n;
    double tail = 1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / n2) / n2;
    return (1.0 / 12 - (1.0 / 360 - tail / n2) / n2) / n;
}

static double deviance(double x, double mean) /* x log(x / mean) + mean - x */
{
    if (fabs(x - mean) >= 0.1 * (x + mean))
        return x * log(x / mean) + mean - x;
    /* Near the mean the terms cancel: a series in v = (x - mean) / (x + mean). */
    double v = (x - mean) / (x + mean), sum = (x - mean) * v, term = 2 * x * v;
    enum { MOST_TERMS = 1000 }; /* a bound: ten or so are enough */
    for (int j = 1; j < MOST_TERMS; j++) {
        term *= v * v;
        double next = sum + term / (2 * j + 1);
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

static double log_binomial_mass(double x, double n, double p, double q)
{
    if (x == 0)
        return n == 0 ? 0 : p < 0.1 ? -deviance(n, n * q) - n * p : n * log(q);
    if (x == n)
        return q < 0.1 ? -deviance(n, n * p) - n * q : n * log(p);
    return stirling_error(n) - stirling_error(x) - stirling_error(n - x) - deviance(x, n * p)
         - deviance(n - x, n * q) - 0.5 * (1.8378770664093453 + log(x) + log1p(-x / n));
}

static double mass(double x, double total, double marked, double draws)
{
    double p = draws / total, q = (total - draws) / total;
    return exp(log_binomial_mass(x, marked, p, q)
               + log_binomial_mass(draws - x, total - marked, p, q)
               - log_binomial_mass(draws, total, p, q));
}

int64_t rw_hypergeometric(int64_t total, int64_t marked, int64_t draws, double u)
{
    RW_ASSERT(0 <= marked && marked <= total && 0 <= draws && draws <= total);
    RW_ASSERT(0 <= u && u < 1);
    int64_t low = rw_max64(0, draws - (total - marked)), high = rw_min64(draws, marked);
    if (low == high)
        return low;
    double t = (double)total, m = (double)marked, d = (double)draws;
    int64_t mode = (int64_t)((d + 1) * ((m + 1) / (t + 2)));
    mode = rw_min64(rw_max64(mode, low), high);

    /* Inversion over the order mode, mode + 1, mode - 1, mode + 2, ...: most of
     * the mass comes first, and neighbours follow by a ratio. */
    double at_mode = mass((double)mode, t, m, d), up = at_mode, down = at_mode;
    if (u < at_mode)
        return mode;
    u -= at_mode;
    for (int64_t right = mode, left = mode; right < high || left > low;) {
        if (up + down < 1e-30) /* far below the step of u: nothing is left */
            break;
        if (right < high) {
            double x = (double)right++;
            up *= (m - x) / (x + 1) * ((d - x) / (t - m - d + x + 1));
            if (u < up)
                return right;
            u -= up;
        }
        if (left > low) {
            double x = (double)left--;
            down *= x / (m - x + 1) * ((t - m - d + x) / (d - x + 1));
            if (u < down)
                return left;
            u -= down;
        }
    }
    return mode; /* u within rounding of 1 */
}
