#include "store/csr.h"
#include "store/digest.h"

#include <string.h>

void rw_csr_indptr(const rw_store *s, int64_t *indptr)
{
    RW_ASSERT(indptr);
    indptr[0] = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        indptr[g + 1] = indptr[g] + s->len[g];
}

void rw_csr_sources(const rw_store *s, int32_t *out)
{
    RW_ASSERT(out || !s->slots);
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t len = (size_t)s->len[g];
        if (len)
            memcpy(out, s->source + s->start[g], len * sizeof *out);
        out += len;
    }
}

void rw_csr_get(const rw_store *s, int32_t field, void *out)
{
    RW_ASSERT(rw_has_field(s, field) && (out || !s->slots));
    const rw_field *f = &s->field[field];
    size_t bytes = rw_slot_bytes(f);
    char *to = out;
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t n = (size_t)s->len[g] * bytes;
        if (n)
            memcpy(to, f->data + (size_t)s->start[g] * bytes, n);
        to += n;
    }
}

void rw_csr_set(rw_store *s, int32_t field, const void *in)
{
    RW_ASSERT(rw_has_field(s, field) && (in || !s->slots));
    rw_field *f = &s->field[field];
    size_t bytes = rw_slot_bytes(f);
    const char *from = in;
    for (int32_t g = 0; g < s->n_groups; g++) {
        size_t n = (size_t)s->len[g] * bytes;
        if (n)
            memcpy(f->data + (size_t)s->start[g] * bytes, from, n);
        from += n;
    }
    int32_t last = s->n_groups - 1;
    if (field == RW_WEIGHT)
        rw_weights_clip(s, last, s->start[last], s->len[last]);
}

/* n values of `size` bytes, which lie `to_step` and `from_step` values apart. */
static inline void copy_apart(const size_t size, char *to, int32_t to_step, const char *from,
                              int32_t from_step, int32_t n)
{
    for (int32_t i = 0; i < n; i++, to += (size_t)to_step * size, from += (size_t)from_step * size)
        memcpy(to, from, size);
}

/* The sizes are constants, so that a value is a register. */
static void copy_row(size_t size, char *to, int32_t to_step, const char *from, int32_t from_step,
                     int32_t n)
{
    if (to_step == 1 && from_step == 1) {
        if (n)
            memcpy(to, from, (size_t)n * size);
    } else if (size == sizeof(double)) {
        copy_apart(sizeof(double), to, to_step, from, from_step, n);
    } else if (size == sizeof(float)) {
        copy_apart(sizeof(float), to, to_step, from, from_step, n);
    } else {
        copy_apart(size, to, to_step, from, from_step, n);
    }
}

void rw_csr_get_links(const rw_store *s, int32_t field, void *out)
{
    const rw_field *f = &s->field[field];
    RW_ASSERT(rw_has_field(s, field) && f->width == s->group && (out || !s->slots));
    size_t size = rw_dtype_size(f->dtype);
    char *to = out;
    for (int32_t g = 0; g < s->n_groups; g++) {
        const char *from = f->data + (size_t)s->start[g] * rw_slot_bytes(f);
        for (int32_t r = 0; r < rw_group_rows(s, g); r++, to += (size_t)s->len[g] * size)
            copy_row(size, to, 1, from + (size_t)r * size, s->group, s->len[g]);
    }
}

void rw_csr_set_links(rw_store *s, int32_t field, const void *in)
{
    const rw_field *f = &s->field[field];
    RW_ASSERT(rw_has_field(s, field) && f->width == s->group && (in || !s->slots));
    size_t size = rw_dtype_size(f->dtype);
    const char *from = in;
    for (int32_t g = 0; g < s->n_groups; g++) {
        char *to = f->data + (size_t)s->start[g] * rw_slot_bytes(f);
        for (int32_t r = 0; r < rw_group_rows(s, g); r++, from += (size_t)s->len[g] * size)
            copy_row(size, to + (size_t)r * size, s->group, from, 1, s->len[g]);
    }
}

static rw_status check_arrays(const rw_store *s, const int64_t *indptr, const int32_t *sources,
                              rw_fault *at)
{
    if (indptr[0] != 0)
        return rw_fault_at(RW_ECORRUPT, at, 0, -1);
    for (int32_t g = 0; g < s->n_groups; g++)
        if (indptr[g + 1] < indptr[g] || indptr[g + 1] - indptr[g] > s->n_in)
            return rw_fault_at(RW_ECORRUPT, at, g, -1);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int64_t k = indptr[g]; k < indptr[g + 1]; k++) {
            if (sources[k] < 0 || sources[k] >= s->n_in)
                return rw_fault_at(RW_ERANGE, at, g, sources[k]);
            if (k > indptr[g] && sources[k - 1] >= sources[k])
                return rw_fault_at(RW_EEXIST, at, g, sources[k]);
        }
    return RW_OK;
}

rw_status rw_csr_load(rw_store *s, const int64_t *indptr, const int32_t *sources,
                      const void *weights, rw_fault *at)
{
    RW_ASSERT(indptr && at);
    if (s->slots)
        return RW_ESHAPE;
    if (s->pins)
        return RW_EPINNED;
    rw_status st = check_arrays(s, indptr, sources, at);
    if (st)
        return st;
    st = rw_windows_lay(s, indptr);
    if (st)
        return st;
    for (int32_t g = 0; g < s->n_groups; g++)
        if (s->len[g])
            memcpy(s->source + s->start[g], sources + indptr[g],
                   (size_t)s->len[g] * sizeof *sources);
    s->digest = rw_digest_count(s);
    for (int32_t f = 0; f < s->n_fields; f++)
        for (int32_t g = 0; g < s->n_groups; g++)
            rw_field_bear(&s->field[f], s->start[g], s->len[g]);
    rw_csr_set(s, RW_WEIGHT, weights);
    return RW_OK;
}
