/* cpu.c -- which kernels this machine runs. */
#include "kernels/kernels_isa.h"

/* Best first. Each set needs what the next one needs, so what a machine can run
 * is a tail of the list. */
#if RW_X86
static const rw_kernels *const F32[] = {
#if RW_X86_BF16
    &rw_kernels_avx512bf16_f32,
#endif
    &rw_kernels_avx512_f32, &rw_kernels_avx2_f32, &rw_kernels_scalar_f32
};
static const rw_kernels *const F64[] = { &rw_kernels_avx512_f64, &rw_kernels_avx2_f64,
                                         &rw_kernels_scalar_f64 };
#elif RW_NEON
static const rw_kernels *const F32[] = { &rw_kernels_neon_f32, &rw_kernels_scalar_f32 };
static const rw_kernels *const F64[] = { &rw_kernels_neon_f64, &rw_kernels_scalar_f64 };
#else
static const rw_kernels *const F32[] = { &rw_kernels_scalar_f32 };
static const rw_kernels *const F64[] = { &rw_kernels_scalar_f64 };
#endif
enum {
    N_SETS = (int)(sizeof F32 / sizeof *F32),
    F32_ALONE = N_SETS - (int)(sizeof F64 / sizeof *F64) /* at the head: sets that differ in float32 alone */
};

/* The sets at the head of the list of float32 that do not run here. The builtin asks the
 * operating system too: registers that it does not save do not count. NEON is
 * part of what every aarch64 has. */
static int unavailable(void)
{
#if RW_X86
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return F32_ALONE + 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw"))
        return F32_ALONE + 1;
#endif
#if RW_X86_BF16
    if (!__builtin_cpu_supports("avx512bf16"))
        return F32_ALONE;
#endif
    return 0;
}

const rw_kernels *const *rw_kernels_list(rw_dtype dtype, int *n)
{
    int skip = unavailable(), head = dtype == RW_F64 ? F32_ALONE : 0;
    skip = skip > head ? skip : head;
    *n = dtype == RW_F32 || dtype == RW_F64 ? N_SETS - skip : 0;
    return dtype == RW_F64 ? F64 + skip - head : F32 + skip;
}

const rw_kernels *rw_kernels_named(rw_dtype dtype, const char *name)
{
    int n;
    const rw_kernels *const *list = rw_kernels_list(dtype, &n);
    for (int i = 0; i < n; i++)
        if (!name || !*name || strcmp(list[i]->name, name) == 0)
            return list[i];
    return dtype == RW_F64 && rw_kernels_named(RW_F32, name) ? list[0] : NULL;
}
