#include "csr.h"

#include <string.h>

static size_t slot_bytes(const rw_field *f)
{
    return rw_dtype_size(f->dtype) * (size_t)f->width;
}

void rw_csr_indptr(const rw_store *s, int64_t *indptr)
{
    indptr[0] = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        indptr[g + 1] = indptr[g] + s->len[g];
}

void rw_csr_sources(const rw_store *s, int32_t *out)
{
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t len = (size_t)s->len[g];
        if (len)
            memcpy(out, s->source + s->start[g], len * sizeof *out);
        out += len;
    }
}

void rw_csr_get(const rw_store *s, int32_t field, void *out)
{
    const rw_field *f = &s->field[field];
    size_t bytes = slot_bytes(f);
    char *to = out;
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t n = (size_t)s->len[g] * bytes;
        if (n)
            memcpy(to, f->data + (size_t)s->start[g] * bytes, n);
        to += n;
    }
}

/* Rows of the last group that do not exist hold no weights. */
static void clear_padding(rw_store *s)
{
    const rw_field *w = &s->field[RW_WEIGHT];
    int32_t last = s->n_groups - 1, rows = rw_group_rows(s, last);
    size_t one = rw_dtype_size(w->dtype);
    for (int32_t k = 0; rows < s->group && k < s->len[last]; k++) {
        char *slot = w->data + (size_t)(s->start[last] + k) * slot_bytes(w);
        memset(slot + (size_t)rows * one, 0, (size_t)(s->group - rows) * one);
    }
}

void rw_csr_set(rw_store *s, int32_t field, const void *in)
{
    rw_field *f = &s->field[field];
    size_t bytes = slot_bytes(f);
    const char *from = in;
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t n = (size_t)s->len[g] * bytes;
        if (n)
            memcpy(f->data + (size_t)s->start[g] * bytes, from, n);
        from += n;
    }
    if (field == RW_WEIGHT)
        clear_padding(s);
}

static rw_status fault(rw_status st, rw_fault *at, int64_t group, int64_t source)
{
    at->group = group;
    at->source = source;
    return st;
}

static rw_status check_arrays(const rw_store *s, const int64_t *indptr, const int32_t *sources,
                              rw_fault *at)
{
    if (indptr[0] != 0)
        return fault(RW_ECORRUPT, at, 0, -1);
    for (int32_t g = 0; g < s->n_groups; g++)
        if (indptr[g + 1] < indptr[g] || indptr[g + 1] - indptr[g] > s->n_in)
            return fault(RW_ECORRUPT, at, g, -1);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t k = indptr[g]; k < indptr[g + 1]; k++) {
            if (sources[k] < 0 || sources[k] >= s->n_in)
                return fault(RW_ERANGE, at, g, sources[k]);
            if (k > indptr[g] && sources[k - 1] >= sources[k])
                return fault(RW_EEXIST, at, g, sources[k]);
        }
    return RW_OK;
}

rw_status rw_csr_load(rw_store *s, const int64_t *indptr, const int32_t *sources,
                      const void *weights, rw_fault *at)
{
    if (s->slots)
        return RW_ESHAPE;
    if (s->pins)
        return RW_EPINNED;
    rw_status st = check_arrays(s, indptr, sources, at);
    if (st)
        return st;
    int64_t top = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        top += rw_window_room(s, (int32_t)(indptr[g + 1] - indptr[g]));
    st = rw_arena_reserve(s, top);
    if (st)
        return st;

    int64_t at_slot = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t len = (int32_t)(indptr[g + 1] - indptr[g]);
        s->len[g] = len;
        s->cap[g] = rw_window_room(s, len);
        s->start[g] = len ? at_slot : 0;
        if (len)
            memcpy(s->source + at_slot, sources + indptr[g], (size_t)len * sizeof *sources);
        at_slot += s->cap[g];
    }
    s->slots = indptr[s->n_groups];
    s->top = top;
    rw_pool_reset(s);
    for (int32_t f = 0; f < s->n_fields; f++)
        for (int32_t g = 0; g < s->n_groups; g++)
            rw_field_bear(&s->field[f], s->start[g], s->len[g]);
    rw_csr_set(s, RW_WEIGHT, weights);
    s->mirror.valid = false;
    s->generation++;
    return RW_OK;
}
