/* hypergeometric.h -- how many of the drawn balls are marked, by inversion. */
#ifndef RW_HYPERGEOMETRIC_H
#define RW_HYPERGEOMETRIC_H

#include <stdint.h>

/* How many of `draws` balls, drawn without replacement, are among the `marked` of
 * `total`: the hypergeometric distribution, by inversion from the mode with Loader's
 * (2000) saddle-point form of the mass, good to about 1e-14 for any size. `u` in
 * [0, 1). */
int64_t rw_hypergeometric(int64_t total, int64_t marked, int64_t draws, double u);

#endif
