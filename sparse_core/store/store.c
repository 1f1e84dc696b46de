#include "store/store.h"
#include "base/mem.h"
#include "store/digest.h"

#include <string.h>

/* --- sizes ---------------------------------------------------------------- */

/* room * bytes a slot; rooms were checked when they were allocated. */
static size_t field_bytes(const rw_field *f) { return (size_t)f->room * rw_slot_bytes(f); }

static int32_t groups_of(int64_t n_out, int32_t group)
{
    return (int32_t)((n_out + group - 1) / group);
}

/* --- birth and death ------------------------------------------------------ */

rw_store *rw_store_new(int64_t n_out, int64_t n_in, int32_t group, rw_dtype weights)
{
    bool sizes = n_out >= 1 && n_out <= RW_MAX_WIDTH && n_in >= 1 && n_in <= RW_MAX_WIDTH;
    bool groups = group == 1 || group == 2 || group == 4 || group == 8;
    if (!sizes || !groups || (weights != RW_F32 && weights != RW_F64))
        return NULL;

    rw_store *s = rw_calloc(sizeof *s);
    if (!s)
        return NULL;
    s->n_out = (int32_t)n_out;
    s->n_in = (int32_t)n_in;
    s->group = group;
    s->n_groups = groups_of(n_out, group);
    size_t n = (size_t)s->n_groups;
    s->start = rw_calloc_array(n, sizeof *s->start);
    s->len = rw_calloc_array(n, sizeof *s->len);
    s->cap = rw_calloc_array(n, sizeof *s->cap);
    if (!s->start || !s->len || !s->cap) {
        rw_store_free(s);
        return NULL;
    }
    rw_field *w = &s->field[RW_WEIGHT];
    memcpy(w->name, "weight", sizeof "weight");
    w->dtype = weights;
    w->width = group;
    s->n_fields = 1;
    rw_pool_reset(s);
    return s;
}

void rw_store_drop_mirror(rw_store *s)
{
    rw_mirror *m = &s->mirror;
    rw_free(m->start, ((size_t)s->n_in + 1) * sizeof *m->start);
    rw_free(m->len, (size_t)s->n_in * sizeof *m->len);
    rw_free(m->group, (size_t)m->room * sizeof *m->group);
    rw_free(m->position, (size_t)m->room * sizeof *m->position);
    memset(m, 0, sizeof *m);
}

void rw_store_free(rw_store *s)
{
    if (!s)
        return;
    size_t n = (size_t)s->n_groups;
    rw_free(s->start, n * sizeof *s->start);
    rw_free(s->len, n * sizeof *s->len);
    rw_free(s->cap, n * sizeof *s->cap);
    rw_free(s->source, (size_t)s->source_room * sizeof *s->source);
    for (int32_t f = 0; f < s->n_fields; f++)
        rw_free(s->field[f].data, field_bytes(&s->field[f]));
    rw_store_drop_mirror(s);
    rw_free(s, sizeof *s);
}

size_t rw_store_bytes(const rw_store *s)
{
    size_t n = (size_t)s->n_groups;
    size_t total = sizeof *s + n * (sizeof *s->start + sizeof *s->len + sizeof *s->cap);
    total += (size_t)s->source_room * sizeof *s->source;
    for (int32_t f = 0; f < s->n_fields; f++)
        total += field_bytes(&s->field[f]);
    const rw_mirror *m = &s->mirror;
    if (m->start)
        total += ((size_t)s->n_in + 1) * sizeof *m->start + (size_t)s->n_in * sizeof *m->len;
    total += (size_t)m->room * (sizeof *m->group + sizeof *m->position);
    return total;
}

int64_t rw_store_nnz(const rw_store *s)
{
    int32_t last = s->n_groups - 1;
    int64_t missing = s->group - rw_group_rows(s, last);
    return s->slots * s->group - missing * s->len[last];
}

int32_t rw_group_find(const rw_store *s, int32_t g, int32_t source)
{
    RW_ASSERT(rw_has_group(s, g) && source >= 0 && source < s->n_in);
    const int32_t *row = s->source + s->start[g];
    int32_t low = rw_count_up_to(row, s->len[g], source - 1);
    return low < s->len[g] && row[low] == source ? low : -1 - low;
}

uint64_t rw_digest_count(const rw_store *s)
{
    uint64_t sum = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        sum += rw_slots_hash(s, g, s->start[g], s->len[g]);
    return sum;
}

/* --- fields --------------------------------------------------------------- */

int32_t rw_store_field(const rw_store *s, const char *name)
{
    RW_ASSERT(name);
    for (int32_t f = 0; f < s->n_fields; f++)
        if (strcmp(s->field[f].name, name) == 0)
            return f;
    return -1;
}

#define FILL(type)                                           \
    do {                                                     \
        type *value = (type *)(void *)f->data, birth = (type)f->birth; \
        for (int64_t i = first; i < end; i++)                \
            value[i] = birth;                                \
    } while (0)

void rw_field_bear(const rw_field *f, int64_t slot, int64_t n)
{
    RW_ASSERT(slot >= 0 && n >= 0 && (n == 0 || f->data));
    int64_t first = slot * f->width, end = (slot + n) * f->width;
    switch (f->dtype) {
    case RW_F32: FILL(float); break;
    case RW_F64: FILL(double); break;
    case RW_I32: FILL(int32_t); break;
    case RW_I64: FILL(int64_t); break;
    case RW_U8:  FILL(uint8_t); break;
    case RW_BF16: break;
    }
}

rw_status rw_store_add_field(rw_store *s, const char *name, rw_dtype dtype, int32_t width,
                             double birth)
{
    RW_ASSERT(name);
    size_t length = strlen(name);
    if (length == 0 || length >= RW_NAME_BYTES || rw_dtype_size(dtype) == 0 || dtype == RW_BF16
        || (width != 1 && width != s->group) || s->n_fields == RW_MAX_FIELDS)
        return RW_ESHAPE;
    if (rw_store_field(s, name) >= 0)
        return RW_EEXIST;
    if (s->pins)
        return RW_EPINNED;

    rw_field f = { .dtype = dtype, .width = width, .birth = birth, .room = s->arena };
    memcpy(f.name, name, length + 1);
    if (f.room) {
        f.data = rw_alloc_array((size_t)f.room, rw_slot_bytes(&f));
        if (!f.data)
            return RW_ENOMEM;
    }
    for (int32_t g = 0; g < s->n_groups; g++)
        rw_field_bear(&f, s->start[g], s->len[g]);
    s->field[s->n_fields++] = f;
    return RW_OK;
}

rw_status rw_store_drop_field(rw_store *s, const char *name)
{
    RW_ASSERT(name);
    int32_t f = rw_store_field(s, name);
    if (f < 0)
        return RW_ENOENT;
    if (f == RW_WEIGHT)
        return RW_ESHAPE;
    if (s->pins)
        return RW_EPINNED;
    rw_free(s->field[f].data, field_bytes(&s->field[f]));
    s->n_fields--;
    memmove(&s->field[f], &s->field[f + 1], (size_t)(s->n_fields - f) * sizeof s->field[0]);
    return RW_OK;
}

void rw_weights_clip(rw_store *s, int32_t g, int64_t slot, int32_t len)
{
    RW_ASSERT(rw_has_group(s, g) && slot >= 0 && len >= 0 && slot + len <= s->arena);
    const rw_field *w = &s->field[RW_WEIGHT];
    size_t bytes = rw_slot_bytes(w);
    size_t kept = (size_t)rw_group_rows(s, g) * rw_dtype_size(w->dtype);
    if (kept == bytes)
        return;
    for (int32_t k = 0; k < len; k++)
        memset(w->data + (size_t)(slot + k) * bytes + kept, 0, bytes - kept);
}

void rw_store_pin(rw_store *s)
{
    RW_ASSERT(s->pins >= 0);
    s->pins++;
}
void rw_store_unpin(rw_store *s)
{
    RW_ASSERT(s->pins > 0);
    s->pins--;
}

/* --- the arena and its windows --------------------------------------------- */

int32_t rw_window_room(const rw_store *s, int32_t len)
{
    RW_ASSERT(len >= 0 && len <= s->n_in);
    int64_t room = len ? rw_with_slack(len) + 1 : 0;
    return (int32_t)rw_min64(room, s->n_in);
}

/* One array to `slots` slots of `bytes` each; *room follows. */
static bool grow_array(void **data, int64_t *room, int64_t slots, size_t bytes)
{
    size_t want;
    if (*room >= slots)
        return true;
    if ((uint64_t)slots > SIZE_MAX || !rw_mul_size((size_t)slots, bytes, &want))
        return false;
    void *grown = rw_resize(*data, (size_t)*room * bytes, want);
    if (!grown)
        return false;
    *data = grown;
    *room = slots;
    return true;
}

rw_status rw_arena_reserve(rw_store *s, int64_t slots)
{
    RW_ASSERT(slots >= 0);
    if (slots <= s->arena)
        return RW_OK;
    void *source = s->source;
    bool ok = grow_array(&source, &s->source_room, slots, sizeof *s->source);
    s->source = source;
    for (int32_t f = 0; ok && f < s->n_fields; f++) {
        void *data = s->field[f].data;
        ok = grow_array(&data, &s->field[f].room, slots, rw_slot_bytes(&s->field[f]));
        s->field[f].data = data;
    }
    if (!ok) /* arrays that did grow keep their room: harmless, and used next time */
        return RW_ENOMEM;
    s->arena = slots;
    return RW_OK;
}

static void trim_array(void *data, int64_t *room, int64_t slots, size_t bytes)
{
    size_t want = (size_t)slots * bytes;
    if (slots < *room && rw_shrink(data, (size_t)*room * bytes, want) == want)
        *room = slots;
}

void rw_arena_trim(rw_store *s, int64_t slots)
{
    RW_ASSERT(slots >= s->top);
    trim_array(s->source, &s->source_room, slots, sizeof *s->source);
    for (int32_t f = 0; f < s->n_fields; f++)
        trim_array(s->field[f].data, &s->field[f].room, slots, rw_slot_bytes(&s->field[f]));
    s->arena = s->source_room;
    for (int32_t f = 0; f < s->n_fields; f++)
        s->arena = rw_min64(s->arena, s->field[f].room);
}

/* A listed free window holds, in its own source slots, where the next one is
 * and how large it is itself. */
typedef struct { int64_t next, cap; } free_window;

static free_window read_window(const rw_store *s, int64_t start)
{
    free_window w;
    memcpy(&w, s->source + start, sizeof w);
    return w;
}

static int size_class(int64_t cap)
{
    int c = 0;
    while (c < RW_POOL_CLASSES - 1 && cap >> (c + 1))
        c++;
    return c;
}

void rw_pool_reset(rw_store *s)
{
    for (int c = 0; c < RW_POOL_CLASSES; c++)
        s->pool[c] = -1;
    s->pooled = 0;
    s->lost = 0;
}

void rw_window_give(rw_store *s, int64_t start, int64_t cap)
{
    RW_ASSERT(start >= 0 && cap >= 0 && (cap == 0 || start + cap <= s->top));
    if (cap == 0)
        return;
    if (start + cap == s->top) {
        s->top = start;
        return;
    }
    if (cap < RW_POOL_SMALLEST) {
        s->lost += cap;
        return;
    }
    int c = size_class(cap);
    free_window w = { s->pool[c], cap };
    memcpy(s->source + start, &w, sizeof w);
    s->pool[c] = start;
    s->pooled += cap;
}

int64_t rw_window_take(rw_store *s, int32_t need, int32_t *cap)
{
    RW_ASSERT(need >= 1 && need <= s->n_in);
    int c = size_class(need);
    /* In its own class a window may be too small: look at the first only. */
    if (s->pool[c] >= 0 && read_window(s, s->pool[c]).cap < need)
        c++;
    while (c < RW_POOL_CLASSES && s->pool[c] < 0)
        c++;
    if (c == RW_POOL_CLASSES) {
        int64_t start = s->top;
        RW_ASSERT(start + need <= s->arena); /* it was reserved */
        s->top += need;
        *cap = need;
        return start;
    }

    int64_t start = s->pool[c];
    free_window w = read_window(s, start);
    s->pool[c] = w.next;
    s->pooled -= w.cap;
    if (w.cap - need >= RW_POOL_SMALLEST) {
        rw_window_give(s, start + need, w.cap - need);
        *cap = need;
    } else {
        *cap = (int32_t)rw_min64(w.cap, s->n_in);
        s->lost += w.cap - *cap;
    }
    return start;
}

/* --- all windows at once ----------------------------------------------------- */

static int64_t packed_slots(const rw_store *s)
{
    int64_t total = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        total += rw_window_room(s, s->len[g]);
    return total;
}

void rw_window_append(rw_store *s, int32_t g, int32_t len)
{
    s->len[g] = len;
    s->cap[g] = rw_window_room(s, len);
    s->start[g] = s->cap[g] ? s->top : 0;
    s->top += s->cap[g];
    s->slots += len;
    RW_ASSERT(s->top <= s->arena);
}

rw_status rw_windows_lay_lengths(rw_store *s)
{
    RW_ASSERT(!s->slots && !s->pins);
    rw_status st = rw_arena_reserve(s, packed_slots(s));
    if (st)
        return st;
    s->top = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        rw_window_append(s, g, s->len[g]);
    rw_pool_reset(s);
    s->mirror.valid = false;
    s->generation++;
    return RW_OK;
}

rw_status rw_windows_lay(rw_store *s, const int64_t *indptr)
{
    int64_t top = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        top += rw_window_room(s, (int32_t)(indptr[g + 1] - indptr[g]));
    rw_status st = rw_arena_reserve(s, top); /* before anything is written */
    if (st)
        return st;
    for (int32_t g = 0; g < s->n_groups; g++)
        s->len[g] = (int32_t)(indptr[g + 1] - indptr[g]);
    return rw_windows_lay_lengths(s);
}

/* --- copies ---------------------------------------------------------------- */

/* Memory for `slots` slots in fresh arrays shaped like those of s. */
static bool fresh_arrays(const rw_store *s, rw_store *to, int64_t slots)
{
    to->n_fields = s->n_fields;
    for (int32_t f = 0; f < s->n_fields; f++) {
        to->field[f] = s->field[f];
        to->field[f].data = NULL;
        to->field[f].room = 0;
    }
    return rw_arena_reserve(to, slots) == RW_OK;
}

/* Live slots of `from`, packed in the order of the groups, into `to`, whose
 * arrays are large enough. */
static void pack_into(const rw_store *from, rw_store *to)
{
    int64_t top = 0;
    for (int32_t g = 0; g < from->n_groups; g++) {
        int32_t len = from->len[g];
        int64_t old = from->start[g];
        to->len[g] = len;
        to->cap[g] = rw_window_room(from, len);
        to->start[g] = to->cap[g] ? top : 0;
        if (len) {
            memcpy(to->source + top, from->source + old, (size_t)len * sizeof *to->source);
            for (int32_t f = 0; f < from->n_fields; f++) {
                size_t bytes = rw_slot_bytes(&from->field[f]);
                memcpy(to->field[f].data + (size_t)top * bytes,
                       from->field[f].data + (size_t)old * bytes, (size_t)len * bytes);
            }
        }
        top += to->cap[g];
    }
    to->slots = from->slots;
    to->digest = from->digest;
    to->top = top;
    rw_pool_reset(to);
}

rw_store *rw_store_clone(const rw_store *s)
{
    rw_store *copy = rw_store_new(s->n_out, s->n_in, s->group, s->field[RW_WEIGHT].dtype);
    if (!copy)
        return NULL;
    if (!fresh_arrays(s, copy, packed_slots(s))) {
        rw_store_free(copy);
        return NULL;
    }
    pack_into(s, copy);
    copy->generation = s->generation;
    return copy;
}

/* Two stores of equal sizes change places; s counts as changed. */
static void exchange(rw_store *s, rw_store *other)
{
    rw_store old = *s;
    *s = *other;
    s->generation = old.generation + 1;
    *other = old;
}

rw_status rw_store_compact(rw_store *s)
{
    if (s->pins)
        return RW_EPINNED;
    rw_store *packed = rw_store_clone(s);
    if (!packed)
        return RW_ENOMEM;
    exchange(s, packed); /* the old arrays go down with the clone */
    rw_store_free(packed);
    return RW_OK;
}

/* Every group has as many links in both, and the fields have the same names and shapes. With one
 * generation, of which one store is a clone of the other, that is the same structure. */
static bool same_shape(const rw_store *a, const rw_store *b)
{
    if (a->generation != b->generation || a->n_fields != b->n_fields
        || memcmp(a->len, b->len, (size_t)a->n_groups * sizeof *a->len) != 0)
        return false;
    for (int32_t f = 0; f < a->n_fields; f++) {
        const rw_field *x = &a->field[f], *y = &b->field[f];
        if (strcmp(x->name, y->name) != 0 || x->dtype != y->dtype || x->width != y->width)
            return false;
    }
    return true;
}

rw_status rw_store_revert(rw_store *s, rw_store *then)
{
    if (s->n_out != then->n_out || s->n_in != then->n_in || s->group != then->group
        || s->field[RW_WEIGHT].dtype != then->field[RW_WEIGHT].dtype)
        return RW_ESHAPE;
    if (!same_shape(s, then)) {
        if (s->pins || then->pins)
            return RW_EPINNED;
        exchange(s, then);
        return RW_OK;
    }
    for (int32_t f = 0; f < s->n_fields; f++) {
        size_t bytes = rw_slot_bytes(&s->field[f]);
        s->field[f].birth = then->field[f].birth;
        for (int32_t g = 0; g < s->n_groups; g++)
            if (s->len[g])
                memcpy(s->field[f].data + (size_t)s->start[g] * bytes,
                       then->field[f].data + (size_t)then->start[g] * bytes,
                       (size_t)s->len[g] * bytes);
    }
    return RW_OK;
}
