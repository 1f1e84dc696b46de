/* check.c -- the invariants of store.h, in its order, as code. */
#include "base/mem.h"
#include "store/digest.h"

#include <stdlib.h>
#include <string.h>

#define FAIL_IF(broken, text)     \
    do {                          \
        if (broken) {             \
            *why = (text);        \
            return RW_ECORRUPT;   \
        }                         \
    } while (0)

static rw_status check_sizes(const rw_store *s, const char **why)
{
    FAIL_IF(s->n_out < 1 || s->n_out > RW_MAX_WIDTH || s->n_in < 1 || s->n_in > RW_MAX_WIDTH,
            "I1: n_out or n_in out of range");
    FAIL_IF(s->group != 1 && s->group != 2 && s->group != 4 && s->group != 8,
            "I1: group is not 1, 2, 4 or 8");
    FAIL_IF(s->n_groups != ((int64_t)s->n_out + s->group - 1) / s->group,
            "I1: n_groups is not ceil(n_out / group)");
    FAIL_IF(s->top < 0 || s->top > s->arena || s->source_room < s->arena,
            "I3: top outside the arena, or the arena outside its memory");
    return RW_OK;
}

static rw_status check_rows(const rw_store *s, const char **why)
{
    int64_t slots = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t len = s->len[g], cap = s->cap[g];
        FAIL_IF(len < 0 || len > cap || cap > s->n_in,
                "I2: len outside [0, cap] or cap above n_in");
        FAIL_IF(s->start[g] < 0 || s->start[g] > s->top - cap,
                "I3: a window reaches outside [0, top)");
        FAIL_IF(cap == 0 && s->start[g] != 0, "I3: a group without a window has a start");
        const int32_t *row = s->source + s->start[g];
        for (int32_t k = 1; k < len; k++)
            FAIL_IF(row[k - 1] >= row[k], "I5: sources of a group do not ascend strictly");
        FAIL_IF(len && (row[0] < 0 || row[len - 1] >= s->n_in),
                "I6: a source lies outside [0, n_in)");
        slots += len;
    }
    FAIL_IF(slots != s->slots, "I7: slots is not the sum of len");
    return RW_OK;
}

typedef struct { int64_t start, end; } window_span;

static int by_start(const void *a, const void *b)
{
    int64_t x = ((const window_span *)a)->start, y = ((const window_span *)b)->start;
    return (x > y) - (x < y);
}

/* Walk the pool lists, counting windows and slots; with `spans`, note them too. */
static rw_status walk_pool(const rw_store *s, int64_t *windows, int64_t *slots, window_span *spans,
                           const char **why)
{
    for (int c = 0; c < RW_POOL_CLASSES; c++) {
        int64_t w = s->pool[c];
        while (w != -1) {
            FAIL_IF(w < 0 || w > s->top - RW_POOL_SMALLEST,
                    "I8: a free window lies outside [0, top)");
            int64_t link[2]; /* next, cap: see store.c */
            memcpy(link, s->source + w, sizeof link);
            FAIL_IF(link[1] < RW_POOL_SMALLEST || link[1] > s->top - w || link[1] >> c == 0
                        || (c + 1 < RW_POOL_CLASSES && link[1] >> (c + 1) != 0),
                    "I8: a free window is not of its size class");
            if (spans)
                spans[*windows] = (window_span){ w, w + link[1] };
            *slots += link[1];
            ++*windows;
            FAIL_IF(*slots > s->top, "I8: a pool list is cyclic or windows overlap");
            w = link[0];
        }
    }
    return RW_OK;
}

/* Whether the windows of groups lie one behind the other, as they do after every repacking. */
static bool windows_ascend(const rw_store *s)
{
    int64_t end = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        if (s->cap[g]) {
            if (s->start[g] < end)
                return false;
            end = s->start[g] + s->cap[g];
        }
    return true;
}

/* Whether two windows overlap, of groups or of `n_free` free ones. */
static rw_status find_overlap(const rw_store *s, int64_t n_free, bool *overlap)
{
    size_t room = (size_t)s->n_groups + (size_t)n_free;
    window_span *spans = rw_alloc_array(room, sizeof *spans);
    if (!spans)
        return RW_ENOMEM;
    const char *why;
    int64_t n = 0, again = 0;
    (void)walk_pool(s, &n, &again, spans, &why);
    for (int32_t g = 0; g < s->n_groups; g++)
        if (s->cap[g])
            spans[n++] = (window_span){ s->start[g], s->start[g] + s->cap[g] };
    qsort(spans, (size_t)n, sizeof *spans, by_start);
    for (int64_t i = 1; i < n; i++)
        *overlap |= spans[i - 1].end > spans[i].start;
    rw_free(spans, room * sizeof *spans);
    return RW_OK;
}

static rw_status check_windows(const rw_store *s, const char **why)
{
    int64_t n_free = 0, free_slots = 0;
    rw_status st = walk_pool(s, &n_free, &free_slots, NULL, why);
    if (st)
        return st;
    FAIL_IF(free_slots != s->pooled, "I8: pooled is not the sum of the free windows");

    int64_t covered = free_slots;
    for (int32_t g = 0; g < s->n_groups; g++)
        covered += s->cap[g];
    bool overlap = false;
    if (n_free || !windows_ascend(s))
        st = find_overlap(s, n_free, &overlap);
    if (st)
        return st;
    FAIL_IF(overlap, "I4: two windows overlap");
    FAIL_IF(s->lost < 0 || covered + s->lost != s->top,
            "I8: windows and lost slots do not cover [0, top)");
    return RW_OK;
}

static bool is_zero(const rw_field *f, int64_t value)
{
    if (f->dtype == RW_F32)
        return ((const float *)(const void *)f->data)[value] == 0.0f;
    return ((const double *)(const void *)f->data)[value] == 0.0;
}

static rw_status check_fields(const rw_store *s, const char **why)
{
    FAIL_IF(s->n_fields < 1 || s->n_fields > RW_MAX_FIELDS, "I9: number of fields out of range");
    FAIL_IF(strcmp(s->field[RW_WEIGHT].name, "weight") != 0, "I9: field 0 is not \"weight\"");
    for (int32_t f = 0; f < s->n_fields; f++) {
        const rw_field *field = &s->field[f];
        FAIL_IF(rw_store_field(s, field->name) != f, "I9: two fields have one name");
        FAIL_IF(field->width != 1 && field->width != s->group,
                "I9: a field's width is neither 1 nor group");
        FAIL_IF(field->room < s->arena || (s->arena && !field->data), "I9: a field has no array");
    }
    int32_t last = s->n_groups - 1, rows = rw_group_rows(s, last);
    const rw_field *w = &s->field[RW_WEIGHT];
    for (int32_t k = 0; k < s->len[last]; k++)
        for (int32_t r = rows; r < s->group; r++)
            FAIL_IF(!is_zero(w, (s->start[last] + k) * s->group + r),
                    "I10: a row beyond n_out has a weight");
    return RW_OK;
}

static rw_status check_mirror(const rw_store *s, const char **why)
{
    const rw_mirror *m = &s->mirror;
    if (!m->valid)
        return RW_OK;
    FAIL_IF(m->start[0] != 0 || m->start[s->n_in] != m->room,
            "I11: the mirror's windows do not cover its memory");
    int64_t entries = 0;
    for (int32_t j = 0; j < s->n_in; j++) {
        FAIL_IF(m->len[j] < 0 || m->start[j] > m->room - m->len[j]
                    || m->start[j] + m->len[j] > m->start[j + 1],
                "I11: two windows of the mirror overlap");
        entries += m->len[j];
        for (int64_t e = m->start[j]; e < m->start[j] + m->len[j]; e++) {
            int32_t g = m->group[e], k = m->position[e];
            FAIL_IF(g < 0 || g >= s->n_groups || k < 0 || k >= s->len[g],
                    "I11: the mirror names a slot that is not there");
            FAIL_IF(s->source[s->start[g] + k] != j,
                    "I11: the mirror files a slot under another source");
            FAIL_IF(e > m->start[j] && m->group[e - 1] >= g,
                    "I11: the mirror's groups do not ascend");
        }
    }
    FAIL_IF(entries != s->slots, "I11: the mirror does not hold every slot");
    return RW_OK;
}

rw_status rw_store_check(const rw_store *s, const char **why)
{
    rw_status st = check_sizes(s, why);
    if (!st)
        st = check_rows(s, why);
    if (!st)
        st = check_windows(s, why);
    if (!st)
        st = check_fields(s, why);
    if (!st)
        st = check_mirror(s, why);
    if (!st)
        FAIL_IF(s->digest != rw_digest_count(s), "I12: the digest is not that of the slots");
    return st;
}
