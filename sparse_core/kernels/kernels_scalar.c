/* kernels_scalar.c -- the kernels for any machine: one value a register, and
 * every multiplication rounded before it is added. What the compiler makes of
 * it with the baseline instruction set is up to it. */
#define RW_TARGET
#define RW_ISA scalar
#include "kernels/vec_scalar.h"

/* Not measured without vectors. */
static const rw_tuning scalar_tuning = RW_TUNING_MEASURED;

/* --- float32 ---------------------------------------------------------- */

#define RW_T float

#define RW_VEC f32x1
#define RW_LANES 1
#define RW_REGS 16
#include "kernels/kernels_body.h"

#define RW_DISPATCH(tile, kernel, arguments) f32x1_##kernel arguments
#define RW_F f32
#define RW_DTYPE RW_F32
#define RW_DTYPE_BITS 32
#define RW_WIDE f32x1
#define RW_WIDE_LANES 1
#define RW_TUNED scalar_tuning
#include "kernels/kernels_element.h"

/* --- float64 ---------------------------------------------------------- */

#define RW_T double

#define RW_VEC f64x1
#define RW_LANES 1
#define RW_REGS 16
#include "kernels/kernels_body.h"

#define RW_DISPATCH(tile, kernel, arguments) f64x1_##kernel arguments
#define RW_F f64
#define RW_DTYPE RW_F64
#define RW_DTYPE_BITS 64
#define RW_WIDE f64x1
#define RW_WIDE_LANES 1
#define RW_TUNED scalar_tuning
#include "kernels/kernels_element.h"
