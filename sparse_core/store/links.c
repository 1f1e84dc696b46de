/* links.c -- links by row and source. */
#include "store/links.h"

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

void rw_links_get(const rw_store *s, int64_t n, const int64_t *row, const int64_t *source,
                  void *weight, uint8_t *there)
{
    size_t bytes = one_weight_bytes(s);
    for (int64_t i = 0; i < n; i++) {
        int64_t slot = rw_link_slot(s, (int32_t)row[i], (int32_t)source[i]);
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
    for (int64_t i = 0; i < n; i++) {
        int64_t slot = rw_link_slot(s, (int32_t)row[i], (int32_t)source[i]);
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

int64_t rw_source_count(const rw_store *s, int32_t source)
{
    const rw_mirror *m = &s->mirror;
    RW_ASSERT(m->valid && source >= 0 && source < s->n_in);
    int64_t len = m->len[source], end = m->start[source] + len;
    bool last = len && m->group[end - 1] == s->n_groups - 1;
    return len * s->group - (last ? s->group - rw_group_rows(s, s->n_groups - 1) : 0);
}

void rw_source_links(const rw_store *s, int32_t source, int32_t *row, void *weight)
{
    const rw_mirror *m = &s->mirror;
    RW_ASSERT(m->valid && source >= 0 && source < s->n_in);
    size_t bytes = one_weight_bytes(s);
    int64_t n = 0, end = m->start[source] + m->len[source];
    for (int64_t e = m->start[source]; e < end; e++) {
        int32_t g = m->group[e], rows = rw_group_rows(s, g);
        const char *from = weight_at(s, s->start[g] + m->position[e], 0);
        memcpy((char *)weight + (size_t)n * bytes, from, (size_t)rows * bytes);
        for (int32_t r = 0; r < rows; r++)
            row[n++] = g * s->group + r;
    }
}
