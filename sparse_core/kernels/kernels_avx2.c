/* kernels_avx2.c -- 8 floats or 4 doubles a register, fused multiply-add.
 * Empty where the compiler or the machine is another. */
#include "kernels/kernels_isa.h"

#if RW_X86
#define RW_TARGET __attribute__((target("avx2,fma")))
#define RW_ISA avx2
#include "kernels/vec_avx2.h"

/* Growth was measured here, and products of wide layers (12288 inputs): a scatter of groups of 8 gains 2x
 * from panels, forward of groups of 4 and 8 some tenths, where AVX-512 with twice the cache runs near
 * its peak without. */
static const rw_tuning avx2_tuning = RW_TUNING_WITH(2 << 20, 4, 20);

/* --- float32 ---------------------------------------------------------- */

#define RW_T float

#define RW_VEC f32x8
#define RW_LANES 8
#define RW_REGS 16
#include "kernels/kernels_body.h"

#define RW_VEC f32x4
#define RW_LANES 4
#define RW_REGS 1
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
        if ((tile) >= 8)                      \
            f32x8_##kernel arguments;       \
        else if ((tile) >= 4)                 \
            f32x4_##kernel arguments;       \
        else if ((tile) >= 2)                 \
            f32x2_##kernel arguments;       \
        else                                \
            f32x1_##kernel arguments;       \
    } while (0)
#define RW_F f32
#define RW_DTYPE RW_F32
#define RW_DTYPE_BITS 32
#define RW_WIDE f32x8
#define RW_WIDE_LANES 8
#define RW_TUNED avx2_tuning
#include "kernels/kernels_element.h"

/* --- float64 ---------------------------------------------------------- */

#define RW_T double

#define RW_VEC f64x4
#define RW_LANES 4
#define RW_REGS 16
#include "kernels/kernels_body.h"

#define RW_VEC f64x2
#define RW_LANES 2
#define RW_REGS 1
#include "kernels/kernels_body.h"

#define RW_VEC f64x1
#define RW_LANES 1
#define RW_REGS 1
#include "kernels/kernels_body.h"

#define RW_DISPATCH(tile, kernel, arguments)  \
    do {                                    \
        if ((tile) >= 4)                      \
            f64x4_##kernel arguments;       \
        else if ((tile) >= 2)                 \
            f64x2_##kernel arguments;       \
        else                                \
            f64x1_##kernel arguments;       \
    } while (0)
#define RW_F f64
#define RW_DTYPE RW_F64
#define RW_DTYPE_BITS 64
#define RW_WIDE f64x4
#define RW_WIDE_LANES 4
#define RW_TUNED avx2_tuning
#include "kernels/kernels_element.h"

#endif
