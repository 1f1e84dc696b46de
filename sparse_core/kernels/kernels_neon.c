/* kernels_neon.c -- 4 floats or 2 doubles a register, fused multiply-add.
 * Empty where the machine is another; on aarch64 it needs no target of its own. */
#include "kernels/kernels_isa.h"

#if RW_NEON
#define RW_TARGET
#define RW_ISA neon
#include "kernels/vec_neon.h"

/* Not measured on any ARM processor. */
static const rw_tuning neon_tuning = RW_TUNING_MEASURED;

/* --- float32 ---------------------------------------------------------- */

#define RW_T float

#define RW_VEC f32x4
#define RW_LANES 4
#define RW_REGS 32
#include "kernels/kernels_body.h"

#define RW_VEC f32x2
#define RW_LANES 2
#define RW_REGS 1
#include "kernels/kernels_body.h"

#define RW_VEC f32x1
#define RW_LANES 1
#define RW_REGS 1
#include "kernels/kernels_body.h"

#define RW_DISPATCH(tile, kernel, arguments)  \
    do {                                    \
        if ((tile) >= 4)                      \
            f32x4_##kernel arguments;       \
        else if ((tile) >= 2)                 \
            f32x2_##kernel arguments;       \
        else                                \
            f32x1_##kernel arguments;       \
    } while (0)
#define RW_F f32
#define RW_DTYPE RW_F32
#define RW_DTYPE_BITS 32
#define RW_WIDE f32x4
#define RW_WIDE_LANES 4
#define RW_TUNED neon_tuning
#include "kernels/kernels_element.h"

/* --- float64 ---------------------------------------------------------- */

#define RW_T double

#define RW_VEC f64x2
#define RW_LANES 2
#define RW_REGS 32
#include "kernels/kernels_body.h"

#define RW_VEC f64x1
#define RW_LANES 1
#define RW_REGS 1
#include "kernels/kernels_body.h"

#define RW_DISPATCH(tile, kernel, arguments)  \
    do {                                    \
        if ((tile) >= 2)                      \
            f64x2_##kernel arguments;       \
        else                                \
            f64x1_##kernel arguments;       \
    } while (0)
#define RW_F f64
#define RW_DTYPE RW_F64
#define RW_DTYPE_BITS 64
#define RW_WIDE f64x2
#define RW_WIDE_LANES 2
#define RW_TUNED neon_tuning
#include "kernels/kernels_element.h"

#endif
