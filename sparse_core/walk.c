#include "walk.h"
#include "blocks.h"
#include "mem.h"

#include <math.h>
#include <string.h>

enum {
    UNSEEN = 0, PLUS = 1, MINUS = 2,
    CHUNK = 256,     /* values whose noise is drawn together, on the stack   */
    WALK_WORK = 30,  /* of a value, in units of rw_threads_for               */
    SCAN_WORK = 4
};

/* All that a block reads. */
typedef struct {
    const rw_store *s;
    int64_t blocks;
    uint8_t *sign;
    double drift, noise;
    rw_key key;
    const rw_normal *normal;
    rw_plan *plan;      /* of the zeros                                  */
    int64_t *zeros;     /* of each block; then: of all before it         */
} pass;

static bool is_sign_field(const rw_store *s, int32_t field)
{
    return field > RW_WEIGHT && field < s->n_fields && s->field[field].dtype == RW_U8
        && s->field[field].width == s->group;
}

/* --- signs ---------------------------------------------------------------------- */

/* Signs for weights that have none; a zero's is plus, or `zero`. */
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

/* The same for a group. */
static void see(const rw_store *s, int32_t g, uint8_t *sign, uint8_t zero)
{
    const char *data = s->field[RW_WEIGHT].data;
    int64_t first = s->start[g] * s->group, n = (int64_t)s->len[g] * s->group;
    if (s->field[RW_WEIGHT].dtype == RW_F32)
        see_float((const float *)(const void *)data + first, sign + first, n, zero);
    else
        see_double((const double *)(const void *)data + first, sign + first, n, zero);
}

rw_status rw_walk_signs(rw_store *s, int32_t sign)
{
    if (!is_sign_field(s, sign))
        return RW_ESHAPE;
    for (int32_t g = 0; g < s->n_groups; g++)
        see(s, g, (uint8_t *)s->field[sign].data, UNSEEN);
    return RW_OK;
}

/* --- the walk ----------------------------------------------------------------- */

/* n values with signs, and their noise: no branch depends on either. NaN stays NaN:
 * training is to notice it. */
#define WALK(type, bits, shift)                                            \
    static void walk_##type(const pass *p, type *w, const uint8_t *sign, const float *z, int32_t n) \
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
WALK(float, uint32_t, 30)
WALK(double, uint64_t, 62)

static void walk_group(const pass *p, int32_t g)
{
    const rw_store *s = p->s;
    float z[CHUNK] = { 0 }; /* CHUNK is even */
    bool f32 = s->field[RW_WEIGHT].dtype == RW_F32;
    int64_t first = s->start[g] * s->group, n = (int64_t)s->len[g] * s->group;
    see(s, g, p->sign, PLUS);
    for (int64_t i = 0; i < n; i += CHUNK) {
        int32_t here = (int32_t)rw_min64(CHUNK, n - i);
        char *w = s->field[RW_WEIGHT].data;
        if (p->noise > 0)
            rw_normals(p->normal, p->key, (uint64_t)g, i, here, z);
        if (f32)
            walk_float(p, (float *)(void *)w + first + i, p->sign + first + i, z, here);
        else
            walk_double(p, (double *)(void *)w + first + i, p->sign + first + i, z, here);
    }
}

static void walk_block(const void *arg, int64_t block)
{
    const pass *p = arg;
    int32_t end = rw_block_group(p->s, p->blocks, block + 1);
    for (int32_t g = rw_block_group(p->s, p->blocks, block); g < end; g++)
        walk_group(p, g);
}

rw_status rw_walk(rw_store *s, int32_t sign, double drift, double noise, const rw_normal *normal,
                  rw_key key, const rw_run *run)
{
    if (!is_sign_field(s, sign))
        return RW_ESHAPE;
    pass p = { .s = s, .blocks = rw_block_count(s), .sign = (uint8_t *)s->field[sign].data,
               .drift = drift, .noise = noise, .key = key, .normal = normal };
    return rw_each_block(s, walk_block, &p, WALK_WORK, run);
}

/* --- zeros ---------------------------------------------------------------------- */

/* How many of n slots have zeros alone, and which: `at` has room for n. */
#define ZEROS(type)                                                           \
    static int32_t count_##type(const type *w, int32_t n)                     \
    {                                                                         \
        int32_t found = 0;                                                    \
        for (int32_t k = 0; k < n; k++)                                       \
            found += w[k] == 0;                                               \
        return found;                                                         \
    }                                                                         \
    static int32_t find_##type(const type *w, int32_t n, int32_t group, int32_t *at) \
    {                                                                         \
        int32_t found = 0;                                                    \
        for (int32_t k = 0; k < n; k++) {                                     \
            bool zero = true;                                                 \
            for (int32_t r = 0; r < group; r++)                               \
                zero = zero && w[(int64_t)k * group + r] == 0;                \
            at[found] = k; /* every position is written, few are kept */      \
            found += zero;                                                    \
        }                                                                     \
        return found;                                                         \
    }
ZEROS(float)
ZEROS(double)

/* At most CHUNK slots from `slot` on. */
static int32_t find(const rw_store *s, int64_t slot, int32_t n, int32_t *at)
{
    const char *data = s->field[RW_WEIGHT].data;
    if (s->field[RW_WEIGHT].dtype == RW_F32) {
        const float *w = (const float *)(const void *)data + slot * s->group;
        return count_float(w, n * s->group) < s->group ? 0 : find_float(w, n, s->group, at);
    }
    const double *w = (const double *)(const void *)data + slot * s->group;
    return count_double(w, n * s->group) < s->group ? 0 : find_double(w, n, s->group, at);
}

/* The zeros of a block: counted, or, once it is known where they go, listed. */
static void zeros_of_block(const pass *p, int64_t block, bool list)
{
    const rw_store *s = p->s;
    int32_t at[CHUNK], end = rw_block_group(s, p->blocks, block + 1);
    int64_t found = list ? p->zeros[block] : 0;
    for (int32_t g = rw_block_group(s, p->blocks, block); g < end; g++)
        for (int32_t k = 0; k < s->len[g]; k += CHUNK) {
            int32_t n = find(s, s->start[g] + k, s->len[g] - k < CHUNK ? s->len[g] - k : CHUNK, at);
            for (int32_t i = 0; list && i < n; i++) {
                p->plan->del_group[found + i] = g;
                p->plan->del_position[found + i] = k + at[i];
            }
            found += n;
        }
    if (!list)
        p->zeros[block] = found;
}

static void count_block(const void *arg, int64_t block) { zeros_of_block(arg, block, false); }
static void list_block(const void *arg, int64_t block) { zeros_of_block(arg, block, true); }

rw_status rw_prune_zeros(rw_plan *p, const rw_run *run)
{
    const rw_store *s = p->store;
    if (p->n_del || p->n_ins)
        return RW_ESHAPE;
    if (p->generation != s->generation)
        return RW_ESTALE;
    pass x = { .s = s, .blocks = rw_block_count(s), .plan = p };
    x.zeros = rw_alloc_array((size_t)x.blocks, sizeof *x.zeros);
    if (!x.zeros)
        return RW_ENOMEM;
    rw_status st = rw_each_block(s, count_block, &x, SCAN_WORK, run);
    int64_t total = 0;
    for (int64_t b = 0; b < x.blocks && !st; b++) {
        int64_t here = x.zeros[b];
        x.zeros[b] = total;
        total += here;
    }
    if (!st)
        st = rw_plan_reserve(p, total, 0);
    if (!st)
        st = rw_each_block(s, list_block, &x, SCAN_WORK, run);
    if (!st) {
        p->n_del = total;
        p->checked = true;
    }
    rw_free(x.zeros, (size_t)x.blocks * sizeof *x.zeros);
    return st;
}
