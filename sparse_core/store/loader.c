#include "store/loader.h"
#include "store/digest.h"

#include <string.h>

rw_status rw_loader_begin(rw_loader *l, rw_store *s, int64_t slots)
{
    RW_ASSERT(slots >= 0);
    if (s->slots)
        return RW_ESHAPE;
    if (s->pins)
        return RW_EPINNED;
    *l = (rw_loader){ .s = s, .slots = slots, .field = RW_LOADS_INDPTR };
    return RW_OK;
}

/* The next array begins at the first slot of the first group that has one. */
static void begin_array(rw_loader *l, int32_t field)
{
    l->field = field;
    l->come = 0;
    l->group = l->position = 0;
}

/* Whether the present array has come whole. */
static bool array_complete(const rw_loader *l)
{
    return l->field != RW_LOADS_INDPTR && l->come == l->slots;
}

bool rw_loader_complete(const rw_loader *l)
{
    uint32_t all = ((uint32_t)1 << l->s->n_fields) - 1;
    return array_complete(l) && (!l->slots || l->begun == all);
}

rw_status rw_loader_indptr(rw_loader *l, const int64_t *indptr, int64_t n, rw_fault *at)
{
    rw_store *s = l->s;
    if (l->field != RW_LOADS_INDPTR || n > s->n_groups + (int64_t)1 - l->counted)
        return RW_ESHAPE;
    for (int64_t k = 0; k < n; k++, l->counted++) {
        int32_t g = (int32_t)(l->counted ? l->counted - 1 : 0);
        int64_t end = rw_read_int64(indptr + k);
        if (end < l->before || end > l->slots)
            return rw_fault_at(RW_ECORRUPT, at, g, -1);
        int64_t len = end - l->before;
        if (len > (l->counted ? s->n_in : 0))
            return rw_fault_at(RW_ECORRUPT, at, g, -1);
        s->len[g] = (int32_t)len;
        l->before = end;
    }
    if (l->counted <= s->n_groups)
        return RW_OK;
    if (l->before != l->slots)
        return rw_fault_at(RW_ECORRUPT, at, s->n_groups - 1, -1);
    rw_status st = rw_windows_lay_lengths(s);
    if (st)
        return st;
    begin_array(l, RW_LOADS_SOURCES);
    return RW_OK;
}

/* How many of n slots that come next lie in one window, and the first of them. */
static int32_t next_run(rw_loader *l, int64_t n, int64_t *slot)
{
    const rw_store *s = l->s;
    RW_ASSERT(n > 0 && n <= l->slots - l->come);
    while (l->position == s->len[l->group]) {
        l->group++;
        l->position = 0;
    }
    int32_t left = s->len[l->group] - l->position;
    *slot = s->start[l->group] + l->position;
    return n < left ? (int32_t)n : left;
}

static void pass_run(rw_loader *l, int32_t run)
{
    l->position += run;
    l->come += run;
}

rw_status rw_loader_sources(rw_loader *l, const int32_t *sources, int64_t n, rw_fault *at)
{
    rw_store *s = l->s;
    if (l->field != RW_LOADS_SOURCES || n > l->slots - l->come)
        return RW_ESHAPE;
    while (n > 0) {
        int64_t slot;
        int32_t run = next_run(l, n, &slot);
        for (int32_t k = 0; k < run; k++) {
            int32_t source = rw_read_int32(sources + k);
            if (source < 0 || source >= s->n_in)
                return rw_fault_at(RW_ERANGE, at, l->group, source);
            if (l->position + k && s->source[slot + k - 1] >= source)
                return rw_fault_at(RW_EEXIST, at, l->group, source);
            s->source[slot + k] = source;
        }
        s->digest += rw_slots_hash(s, l->group, slot, run);
        pass_run(l, run);
        sources += run;
        n -= run;
    }
    return RW_OK;
}

rw_status rw_loader_values(rw_loader *l, int32_t field, const void *values, int64_t n)
{
    rw_store *s = l->s;
    RW_ASSERT(rw_has_field(s, field));
    if (field != l->field) {
        if (!array_complete(l))
            return RW_ESHAPE;
        begin_array(l, field);
        l->begun |= (uint32_t)1 << field;
    }
    if (n > l->slots - l->come)
        return RW_ESHAPE;
    size_t bytes = rw_slot_bytes(&s->field[field]);
    const char *from = values;
    while (n > 0) {
        int64_t slot;
        int32_t run = next_run(l, n, &slot);
        memcpy(s->field[field].data + (size_t)slot * bytes, from, (size_t)run * bytes);
        pass_run(l, run);
        from += (size_t)run * bytes;
        n -= run;
    }
    int32_t last = s->n_groups - 1;
    if (field == RW_WEIGHT && l->come == l->slots)
        rw_weights_clip(s, last, s->start[last], s->len[last]);
    return RW_OK;
}
