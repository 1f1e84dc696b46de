#include "rules/deepr.h"
#include "base/mem.h"
#include "store/blocks.h"

#include <math.h>
#include <string.h>

enum {
    UNSEEN = 0, PLUS = 1, MINUS = 2,
    NOISE_CHUNK = 256 /* values whose noise is drawn together: a bound of the stack, 1 KB; even */
};

/* All that a block reads. */
typedef struct {
    const rw_store *s;
    int64_t blocks;
    uint8_t *sign;
    double drift, noise;
    rw_key key;
    const rw_normal *normal;
} pass;

static bool is_sign_field(const rw_store *s, int32_t field)
{
    return field > RW_WEIGHT && field < s->n_fields && s->field[field].dtype == RW_U8
        && s->field[field].width == s->group;
}

/* --- signs ---------------------------------------------------------------------- */

/* Give a sign to weights that have none; the sign of a zero is `zero`. */
#define SEE(type)                                                          \
    static void see_##type(const type *w, uint8_t *sign, int64_t n, uint8_t zero) \
    {                                                                      \
        uint8_t *at = sign;                                                \
        while (at < sign + n && (at = memchr(at, UNSEEN, (size_t)(sign + n - at))) != NULL) { \
            type value = w[at - sign];                                     \
            *at++ = value > 0 ? PLUS : value < 0 ? MINUS : zero;           \
        }                                                                  \
    }
SEE(float)
SEE(double)

/* Give a sign to the weights of group g that have none. */
static void see(const rw_store *s, int32_t g, uint8_t *sign, uint8_t zero)
{
    const char *data = s->field[RW_WEIGHT].data;
    int64_t first = s->start[g] * s->group, n = (int64_t)s->len[g] * s->group;
    if (s->field[RW_WEIGHT].dtype == RW_F32)
        see_float((const float *)(const void *)data + first, sign + first, n, zero);
    else
        see_double((const double *)(const void *)data + first, sign + first, n, zero);
}

rw_status rw_deepr_signs(rw_store *s, int32_t sign)
{
    if (!is_sign_field(s, sign))
        return RW_ESHAPE;
    for (int32_t g = 0; g < s->n_groups; g++)
        see(s, g, (uint8_t *)s->field[sign].data, UNSEEN);
    return RW_OK;
}

/* --- one step of the random walk ------------------------------------------------ */

/* One step of n values with their signs and noise. No branch depends on either. NaN stays
 * NaN, so that training notices it. */
#define STEP(type, bits, shift)                                            \
    static void step_##type(const pass *p, type *w, const uint8_t *sign,   \
                            const float *z, int32_t n)                     \
    {                                                                      \
        type drift = (type)p->drift, noise = (type)p->noise;               \
        for (int32_t i = 0; i < n; i++) {                                  \
            bits flip = (bits)(sign[i] & MINUS) << (shift), word;          \
            type theta, moved;                                             \
            memcpy(&word, &w[i], sizeof word);                             \
            word ^= flip;                                                  \
            memcpy(&theta, &word, sizeof word);                            \
            moved = theta - drift + noise * (type)z[i];                    \
            memcpy(&word, &moved, sizeof word);                            \
            word = (word ^ flip) & (0 - (bits)!((theta <= 0) | (moved <= 0))); \
            memcpy(&w[i], &word, sizeof word);                             \
        }                                                                  \
    }
STEP(float, uint32_t, 30)
STEP(double, uint64_t, 62)

static void step_group(const pass *p, int32_t g)
{
    const rw_store *s = p->s;
    float z[NOISE_CHUNK] = { 0 };
    bool f32 = s->field[RW_WEIGHT].dtype == RW_F32;
    int64_t first = s->start[g] * s->group, n = (int64_t)s->len[g] * s->group;
    see(s, g, p->sign, PLUS);
    for (int64_t i = 0; i < n; i += NOISE_CHUNK) {
        int32_t here = (int32_t)rw_min64(NOISE_CHUNK, n - i);
        char *w = s->field[RW_WEIGHT].data;
        if (p->noise > 0)
            rw_normals(p->normal, p->key, (uint64_t)g, i, here, z);
        if (f32)
            step_float(p, (float *)(void *)w + first + i, p->sign + first + i, z, here);
        else
            step_double(p, (double *)(void *)w + first + i, p->sign + first + i, z, here);
    }
}

static void step_block(const void *arg, int64_t block)
{
    const pass *p = arg;
    int32_t end = rw_block_group(p->s, p->blocks, block + 1);
    for (int32_t g = rw_block_group(p->s, p->blocks, block); g < end; g++)
        step_group(p, g);
}

rw_status rw_deepr_step(rw_store *s, int32_t sign, double drift, double noise,
                        const rw_normal *normal, rw_key key, const rw_run *run)
{
    RW_ASSERT(drift >= 0 && noise >= 0 && (normal || noise == 0) && rw_is_run(run));
    if (!is_sign_field(s, sign))
        return RW_ESHAPE;
    pass p = { .s = s, .blocks = rw_block_count(s), .sign = (uint8_t *)s->field[sign].data,
               .drift = drift, .noise = noise, .key = key, .normal = normal };
    return rw_each_block(s, step_block, &p, RW_COST_DEEPR_VALUE, run);
}
