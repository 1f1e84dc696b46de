#include "ops/targets.h"

#include <string.h>

rw_some_targets rw_targets_from(const rw_targets *all, int64_t sample, int32_t live, int32_t width,
                                int32_t i0)
{
    RW_ASSERT(0 <= live && live <= width && width <= RW_TARGET_SAMPLES);
    rw_some_targets found = { all, sample, live, width, { 0 }, { 0 } };
    for (int32_t b = 0; all->indptr && b < live; b++) {
        int64_t low, high;
        if (!rw_csr_row(all->indptr, rw_target_row(all, sample + b), all->n_entries, &low, &high))
            continue;
        found.end[b] = high;
        while (low < high) { /* the first one with a column that is not below i0 */
            int64_t middle = low + (high - low) / 2;
            if (all->columns[middle] < i0)
                low = middle + 1;
            else
                high = middle;
        }
        found.next[b] = low;
    }
    return found;
}

static double entry_value(const rw_targets *t, int64_t e)
{
    if (!t->entries)
        return 1;
    const char *at = t->entries + (size_t)e * rw_dtype_size(t->entry_dtype);
    float single;
    double v;
    if (t->entry_dtype == RW_F64) {
        memcpy(&v, at, sizeof v);
        return v;
    }
    memcpy(&single, at, sizeof single);
    return (double)single;
}

static void put_entries(rw_some_targets *from, int32_t i, int32_t rows, rw_dtype dtype, void *t)
{
    for (int32_t b = 0; b < from->live; b++)
        for (; from->next[b] < from->end[b]; from->next[b]++) {
            int64_t r = (int64_t)rw_read_int32(from->all->columns + from->next[b]) - i;
            if (r >= rows)
                break;
            if (r >= 0) /* else they do not ascend: a user has changed them meanwhile */
                rw_put(dtype, t, (int32_t)r * from->width + b, entry_value(from->all, from->next[b]));
        }
}

static void put_labels(const rw_some_targets *from, int32_t i, int32_t rows, rw_dtype dtype, void *t)
{
    for (int32_t b = 0; b < from->live; b++) {
        int64_t label = rw_target_label(from->all, from->sample + b) - i;
        if (label >= 0 && label < rows)
            rw_put(dtype, t, (int32_t)label * from->width + b, 1);
    }
}

/* --- numbers ---------------------------------------------------------------------- */

/* Numbers that change their type: four samples at a time, whose values lie beside each other in the
 * end; a sample's come one after the other, as those of most arrays do. All others are left to the
 * kernels, which turn what keeps its type by squares of registers. */
#if defined(__GNUC__)
#define FETCH_NEXT(address) __builtin_prefetch(address)
#else
#define FETCH_NEXT(address) ((void)(address))
#endif

#define TURN(name, FROM, TO, READ)                                                   \
    static void name(const char *const *row, int32_t live, int32_t rows, int32_t width, \
                     void *out)                                                        \
    {                                                                                  \
        TO *t = out;                                                                   \
        int32_t b = 0;                                                                 \
        for (; b + 4 <= live; b += 4) {                                                \
            const FROM *v0 = (const void *)row[b], *v1 = (const void *)row[b + 1];     \
            const FROM *v2 = (const void *)row[b + 2], *v3 = (const void *)row[b + 3]; \
            TO *to = t + b;                                                            \
            FETCH_NEXT(v0 + rows);                                                     \
            FETCH_NEXT(v1 + rows);                                                     \
            FETCH_NEXT(v2 + rows);                                                     \
            FETCH_NEXT(v3 + rows);                                                     \
            for (int32_t r = 0; r < rows; r++, to += width) {                          \
                to[0] = (TO)READ(v0[r]);                                               \
                to[1] = (TO)READ(v1[r]);                                               \
                to[2] = (TO)READ(v2[r]);                                               \
                to[3] = (TO)READ(v3[r]);                                               \
            }                                                                          \
        }                                                                              \
        for (; b < live; b++) {                                                        \
            const FROM *v = (const void *)row[b];                                      \
            for (int32_t r = 0; r < rows; r++)                                         \
                t[(ptrdiff_t)r * width + b] = (TO)READ(v[r]);                          \
        }                                                                              \
    }
#define AS_NUMBER(v) (v)
#define AS_YES(v) ((v) != 0)
TURN(turn_f32_f64, float, double, AS_NUMBER)
TURN(turn_f64_f32, double, float, AS_NUMBER)
TURN(turn_bool_f32, uint8_t, float, AS_YES)
TURN(turn_bool_f64, uint8_t, double, AS_YES)

typedef void (*turner)(const char *const *, int32_t, int32_t, int32_t, void *);

/* NULL for arrays of another type or layout, and where the type stays. */
static turner turner_of(const rw_targets *t, rw_dtype dtype)
{
    static const struct {
        rw_input kind;
        ptrdiff_t size;
        turner to[2];
    } ALL[] = {
        { RW_IN_F32, sizeof(float), { NULL, turn_f32_f64 } },
        { RW_IN_F64, sizeof(double), { turn_f64_f32, NULL } },
        { RW_IN_BOOL, 1, { turn_bool_f32, turn_bool_f64 } },
    };
    for (size_t i = 0; i < sizeof ALL / sizeof ALL[0]; i++)
        if (t->kind == ALL[i].kind && t->column_stride == ALL[i].size &&
            t->row_stride % ALL[i].size == 0 && (uintptr_t)t->values % (size_t)ALL[i].size == 0)
            return ALL[i].to[dtype == RW_F64];
    return NULL;
}

static void gather_numbers(const rw_some_targets *from, int32_t i, int32_t rows, rw_dtype dtype,
                           void *t)
{
    const rw_targets *all = from->all;
    turner turn = turner_of(all, dtype);
    if (!turn) {
        const rw_user_rows in = { all->kind, all->values, all->row_stride, all->column_stride,
                                  all->rows, NULL, NULL };
        rw_kernels_named(dtype, NULL)->pack(&in, from->sample, from->live, i, i + rows, t,
                                            from->width);
        return;
    }
    const char *row[RW_TARGET_SAMPLES];
    for (int32_t b = 0; b < from->live; b++)
        row[b] = all->values + rw_target_row(all, from->sample + b) * all->row_stride +
                 i * all->column_stride;
    turn(row, from->live, rows, from->width, t);
}

void rw_targets_gather(rw_some_targets *from, int32_t i, int32_t rows, rw_dtype dtype, void *t)
{
    const rw_targets *all = from->all;
    if (!all->values || from->live < from->width)
        memset(t, 0, (size_t)rows * (size_t)from->width * rw_dtype_size(dtype));
    if (all->labels) {
        put_labels(from, i, rows, dtype, t);
    } else if (all->indptr) {
        put_entries(from, i, rows, dtype, t);
    } else {
        gather_numbers(from, i, rows, dtype, t);
    }
}
