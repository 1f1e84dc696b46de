/* links.c -- links by row and source. */
#include "store/links.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int64_t rw_link_slot(const rw_store *s, int32_t row, int32_t source)
{
    RW_ASSERT(row >= 0 && row < s->n_out);
    int32_t g = row / s->group, k = rw_group_find(s, g, source);
    return k < 0 ? -1 : s->start[g] + k;
}

/* Where the weight lies, and how long it is. */
static char *weight_at(const rw_store *s, int64_t slot, int32_t row)
{
    const rw_field *w = &s->field[RW_WEIGHT];
    return w->data + (size_t)(slot * s->group + row % s->group) * rw_dtype_size(w->dtype);
}

static size_t one_weight_bytes(const rw_store *s) { return rw_dtype_size(s->field[RW_WEIGHT].dtype); }

double rw_slot_weight(const rw_store *s, int64_t slot, int32_t row)
{
    RW_ASSERT(slot >= 0 && slot < s->top);
    const char *at = weight_at(s, slot, row);
    if (s->field[RW_WEIGHT].dtype == RW_F64)
        return *(const double *)(const void *)at;
    return (double)*(const float *)(const void *)at;
}

void rw_slot_put(rw_store *s, int64_t slot, int32_t row, double weight)
{
    RW_ASSERT(slot >= 0 && slot < s->top);
    char *at = weight_at(s, slot, row);
    if (s->field[RW_WEIGHT].dtype == RW_F64)
        *(double *)(void *)at = weight;
    else
        *(float *)(void *)at = (float)weight;
}

/* The link looked for last, and where its source stands in its group, or belongs. */
typedef struct {
    int32_t group, source, position;
} looked;

/* As rw_link_slot. Links often come in ascending order: then the next one stands behind the
 * last. */
static int64_t next_slot(const rw_store *s, int32_t row, int32_t source, looked *last)
{
    RW_ASSERT(row >= 0 && row < s->n_out);
    int32_t g = s->group == 1 ? row : row / s->group;
    int32_t k = g == last->group && source >= last->source ? last->position : 0, n = s->len[g];
    const int32_t *here = s->source + s->start[g];
    if (k < n && here[k] < source)
        k++;
    if (k < n && here[k] < source)
        k += rw_count_up_to(here + k, n - k, source - 1);
    *last = (looked){ g, source, k };
    return k < n && here[k] == source ? s->start[g] + k : -1;
}

void rw_links_get(const rw_store *s, int64_t n, const int64_t *row, const int64_t *source,
                  void *weight, uint8_t *there)
{
    size_t bytes = one_weight_bytes(s);
    looked last = { -1, -1, 0 };
    for (int64_t i = 0; i < n; i++) {
        int64_t slot = next_slot(s, (int32_t)row[i], (int32_t)source[i], &last);
        if (there)
            there[i] = slot >= 0;
        if (!weight)
            continue;
        char *to = (char *)weight + (size_t)i * bytes;
        if (slot >= 0)
            memcpy(to, weight_at(s, slot, (int32_t)row[i]), bytes);
        else
            memset(to, 0, bytes);
    }
}

void rw_links_put(rw_store *s, int64_t n, const int64_t *row, const int64_t *source,
                  const void *weight)
{
    size_t bytes = one_weight_bytes(s);
    looked last = { -1, -1, 0 };
    for (int64_t i = 0; i < n; i++) {
        int64_t slot = next_slot(s, (int32_t)row[i], (int32_t)source[i], &last);
        if (slot >= 0)
            memcpy(weight_at(s, slot, (int32_t)row[i]), (const char *)weight + (size_t)i * bytes,
                   bytes);
    }
}

void rw_row_links(const rw_store *s, int32_t row, int32_t *source, void *weight)
{
    RW_ASSERT(row >= 0 && row < s->n_out);
    int32_t g = row / s->group, n = s->len[g];
    size_t bytes = one_weight_bytes(s);
    if (n == 0)
        return;
    memcpy(source, s->source + s->start[g], (size_t)n * sizeof *source);
    if (s->group == 1)
        memcpy(weight, weight_at(s, s->start[g], row), (size_t)n * bytes);
    else
        for (int32_t k = 0; k < n; k++)
            memcpy((char *)weight + (size_t)k * bytes, weight_at(s, s->start[g] + k, row), bytes);
}

/* A link and its number in the list that it comes from. */
typedef struct {
    int64_t row, source, from;
} named_link;

static int by_place(const void *a, const void *b)
{
    const named_link *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return (x->from > y->from) - (x->from < y->from);
}

rw_status rw_links_sort(int64_t n, int64_t *row, int64_t *source, int64_t *from)
{
    named_link *link = rw_alloc_array((size_t)n, sizeof *link);
    if (!link)
        return RW_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        link[i] = (named_link){ row[i], source[i], i };
    qsort(link, (size_t)n, sizeof *link, by_place);
    for (int64_t i = 0; i < n; i++) {
        row[i] = link[i].row;
        source[i] = link[i].source;
        from[i] = link[i].from;
    }
    rw_free(link, (size_t)n * sizeof *link);
    return RW_OK;
}

/* Without a mirror every group is asked. */
static int64_t count_by_groups(const rw_store *s, int32_t source)
{
    int64_t n = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        if (rw_group_find(s, g, source) >= 0)
            n += rw_group_rows(s, g);
    return n;
}

/* The links of slot `position` of group g, from entry n on; the entries there are now. */
static int64_t note_links(const rw_store *s, int32_t g, int32_t position, int64_t n, int32_t *row,
                          void *weight)
{
    int32_t rows = rw_group_rows(s, g);
    size_t bytes = one_weight_bytes(s);
    memcpy((char *)weight + (size_t)n * bytes, weight_at(s, s->start[g] + position, 0),
           (size_t)rows * bytes);
    for (int32_t r = 0; r < rows; r++)
        row[n++] = g * s->group + r;
    return n;
}

int64_t rw_source_count(const rw_store *s, int32_t source)
{
    const rw_mirror *m = &s->mirror;
    RW_ASSERT(source >= 0 && source < s->n_in);
    if (!m->valid)
        return count_by_groups(s, source);
    int64_t len = m->len[source], end = m->start[source] + len;
    bool last = len && m->group[end - 1] == s->n_groups - 1;
    return len * s->group - (last ? s->group - rw_group_rows(s, s->n_groups - 1) : 0);
}

void rw_source_links(const rw_store *s, int32_t source, int32_t *row, void *weight)
{
    const rw_mirror *m = &s->mirror;
    RW_ASSERT(source >= 0 && source < s->n_in);
    int64_t n = 0;
    if (!m->valid) {
        for (int32_t g = 0; g < s->n_groups; g++) {
            int32_t k = rw_group_find(s, g, source);
            if (k >= 0)
                n = note_links(s, g, k, n, row, weight);
        }
        return;
    }
    int64_t end = m->start[source] + m->len[source];
    for (int64_t e = m->start[source]; e < end; e++)
        n = note_links(s, m->group[e], m->position[e], n, row, weight);
}
