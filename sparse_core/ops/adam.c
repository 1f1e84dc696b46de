#include "ops/adam.h"

#include <math.h>

enum { MOST_AGES = 1 << 22 }; /* a bound: 32 MB a table */

int64_t rw_adam_ages(double beta1, double beta2)
{
    RW_ASSERT(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1);
    double slowest = fmax(beta1, beta2);
    if (slowest <= 0)
        return 2;
    /* beta^t < 2^-53 from t = 36.8 / -log(beta) on. */
    double ages = 38.0 / fmax(-log(slowest), 1e-9);
    return (int64_t)fmin(ages, MOST_AGES) + 2;
}

void rw_adam_corrections(double beta, int64_t ages, double *table)
{
    RW_ASSERT(beta >= 0 && beta < 1 && ages >= 1 && table);
    table[0] = 1;
    for (int64_t t = 1; t < ages; t++)
        table[t] = 1 / (1 - pow(beta, (double)t));
}
