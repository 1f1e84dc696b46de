/* kernels_avx512.c -- 16 floats or 8 doubles a register, fused multiply-add.
 * Empty where the compiler or the machine is another. */
#include "kernels/kernels_isa.h"

#if RW_X86
#define RW_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define RW_ISA avx512
#include "kernels/vec_avx512.h"

/* In float32, on an AMD EPYC (1 MB of second-level cache): dX of groups does without panels, whose jumps cost
 * more than lines that were asked for ahead, 0 to 28 percent of it; that of single rows wants longer pieces. */
static const rw_tuning avx512_tuning = RW_TUNING_WITH(INT64_MAX, 1, 64);

/* Not measured in float64. */
static const rw_tuning avx512_f64_tuning = RW_TUNING_MEASURED;

/* --- float32 ---------------------------------------------------------- */

#define RW_T float

#define RW_VEC f32x16
#define RW_LANES 16
#define RW_REGS 32
#define RW_HALF f32x8
#define RW_H(name) RW_CAT(f32x8, name)
#include "kernels/kernels_body.h"

#define RW_VEC f32x8
#define RW_BY_ROWS_OF_16 16 /* samples a register holds */
#define RW_LANES 8
#define RW_REGS 1
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
        if ((tile) >= 16)                     \
            f32x16_##kernel arguments;      \
        else if ((tile) >= 8)                 \
            f32x8_##kernel arguments;       \
        else if ((tile) >= 4)                 \
            f32x4_##kernel arguments;       \
        else if ((tile) >= 2)                 \
            f32x2_##kernel arguments;       \
        else                                \
            f32x1_##kernel arguments;       \
    } while (0)
#include "kernels/kernels_small_batch.h"
#define RW_SMALL_BATCH_SGD f32_small_batch_sgd
#if RW_X86_BF16
#define RW_BF16_ISA avx512bf16
#define RW_BF16_KERNELS rw_bf16_avx512
#endif
#define RW_F f32
#define RW_DTYPE RW_F32
#define RW_DTYPE_BITS 32
#define RW_WIDE f32x16
#define RW_WIDE_LANES 16
#define RW_TUNED avx512_tuning
#include "kernels/kernels_element.h"

/* --- float64 ---------------------------------------------------------- */

#define RW_T double

#define RW_VEC f64x8
#define RW_BY_ROWS_OF_16 8
#define RW_LANES 8
#define RW_REGS 32
#define RW_HALF f64x4
#define RW_H(name) RW_CAT(f64x4, name)
#include "kernels/kernels_body.h"

#define RW_VEC f64x4
#define RW_LANES 4
#define RW_REGS 1
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
        if ((tile) >= 8)                      \
            f64x8_##kernel arguments;       \
        else if ((tile) >= 4)                 \
            f64x4_##kernel arguments;       \
        else if ((tile) >= 2)                 \
            f64x2_##kernel arguments;       \
        else                                \
            f64x1_##kernel arguments;       \
    } while (0)
#define RW_F f64
#define RW_DTYPE RW_F64
#define RW_DTYPE_BITS 64
#define RW_WIDE f64x8
#define RW_WIDE_LANES 8
#define RW_TUNED avx512_f64_tuning
#include "kernels/kernels_element.h"

#endif
