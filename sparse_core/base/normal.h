/* normal.h -- normal numbers by counter: the ziggurat.
 *
 * Noise on every weight after every step has to be cheap, so a number takes 32 bits, from
 * a sequence that one block of Philox begins for each row. The area under
 * exp(-x^2 / 2) is covered by layers of equal area (Marsaglia and Tsang, "The ziggurat
 * method for generating random variables", 2000): 8 bits choose a layer, one the
 * sign, 23 a place in it (separate bits: Doornik 2005). Of 80 numbers 79 lie below
 * the curve for sure and cost a product and a comparison; the others are settled by
 * draws of 53 bits of their own. So the distribution is exact, up to steps of 2^-23 of a
 * layer's width.
 *
 * Measured, ns a number: 2.3, of which the bits 0.8 and the one in 80 0.5. With eight
 * numbers to a block of Philox 3.7; Box-Muller 19 with four, 34 with one. */
#ifndef RW_NORMAL_H
#define RW_NORMAL_H

#include "base/rng.h"

enum { RW_NORMAL_LAYERS = 256 };

/* Layer i reaches from edge[i + 1], below which all is under the curve, to edge[i];
 * height[i] is the curve at edge[i]. Layer 0 has the tail: its edge[0] is what
 * the width of a box of its area would be. */
typedef struct {
    double edge[RW_NORMAL_LAYERS + 1], height[RW_NORMAL_LAYERS + 1];
    float step[2 * RW_NORMAL_LAYERS]; /* edge / 2^23, to the right and to the left */
    uint32_t below[RW_NORMAL_LAYERS]; /* steps up to edge[i + 1]                   */
} rw_normal;

/* Make the tables: some 6 us. */
void rw_normal_start(rw_normal *t);

/* out[0 .. n-1]: the numbers `first` and on of (key, row). `first` is even; out has room
 * for one more if n is not. */
void rw_normals(const rw_normal *t, rw_key key, uint64_t row, int64_t first, int64_t n, float *out);

#endif
