/* kernels_bf16.h -- the contract of kernels that multiply bfloat16, for sets with such an instruction.
 *
 * A value takes 16 bits: the upper half of a float32. The instruction takes two products a lane, each of
 * the two halves of a dword, and adds them one after the other, that of the HIGH halves first, each with one
 * rounding as a fused multiply-add; a product of two such values is exact. So operands lie in pairs,
 *
 *      a row of a tile       dword l of each RW_BF16_BLOCK samples: sample l high, sample l + 16 low
 *      weights, for forward  dword r of slots 2p and 2p + 1 of a group: row r of slot 2p high, of 2p + 1 low;
 *                            of an odd number the last slot is `group` values, one after another
 *      weights, for dX       dword r of a slot: row 2r high, row 2r + 1 low
 *
 * and every sum adds its terms in the canonical order (kernels.h): results have the bits of this set's
 * kernels of float32, of operands rounded before, whatever a NaN carries beside being one. A tile has
 * whole blocks; cols are whole blocks too. A slot's weights lie where those of float32 do, at half the bytes.
 *
 * A zero in dW may have another sign: padding is multiplied in whole blocks, and its +0 makes a lane +0 in
 * which all products are so small that they are -0.
 *
 * Subnormal operands and results are zero: the instruction has it so, and kernels of float32 because they run
 * in tasks alone, in which par.h has subnormal numbers flushed. */
#ifndef RW_KERNELS_BF16_H
#define RW_KERNELS_BF16_H

#include "kernels/kernels.h"

enum { RW_BF16_BLOCK = 32 };

struct rw_bf16_kernels {
    const rw_tuning *tuning;

    /* y = x rounded: n values of rows of a tile, in whole blocks. */
    void (*narrow)(const float *x, uint16_t *y, int64_t n);
    /* The weights of groups [g0, g1), rounded and laid out for forward, and for dX (group >= 2). */
    void (*pair_slots)(const rw_rows *w, int32_t g0, int32_t g1, uint16_t *to);
    void (*pair_rows)(const rw_rows *w, int32_t g0, int32_t g1, uint16_t *to);

    /* As those of rw_kernels: what goes into products is laid out as above, bias and results are float32. */
    void (*forward)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p, const rw_strip *s,
                    const void *bias);
    void (*dx_scatter)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p,
                       const rw_strip *s);
    void (*dw)(const rw_rows *w, int32_t g0, int32_t g1, const rw_panel *p, const rw_span *span,
               const int64_t *first, void *grad);
};

#endif
