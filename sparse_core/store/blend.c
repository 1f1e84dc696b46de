#include "store/blend.h"
#include "base/mem.h"
#include "store/blend_parts.h"
#include "store/blocks.h"

/* What one thread needs for a group of `to`. */
typedef struct {
    rw_link_table of;
    int64_t had;      /* links of the group before                            */
    double *sum;      /* longest + 1, times width: what has no place goes to the last */
    double *value;    /* longest * width: of one of the stores                */
    int32_t *holders; /* longest + 1                                          */
} blend_scratch;

typedef struct {
    rw_store *to;
    int32_t field;
    const rw_store *const *from;
    const int32_t *of;
    int32_t k;
    rw_blend how;
    double none;
    int64_t longest;  /* slots of a group in any of the stores                */
    int64_t n_blocks;
    blend_scratch *of_thread; /* one for each thread                            */
} blending;

/* Let the table know where the links of a group of `to` lie. */
static void learn_places(const rw_store *to, int32_t g, blend_scratch *t)
{
    int32_t len = to->len[g];
    rw_table_next(&t->of, to->n_in, t->had, len);
    t->had = len;
    const int32_t *source = to->source + to->start[g];
    for (int32_t i = 0; i < len; i++)
        t->of.entry[source[i]] = t->of.base + (uint32_t)i;
}

static inline int32_t link_place(const rw_link_table *t, int32_t source, int32_t len)
{
    uint32_t found = t->entry[source];
    return found >= t->base ? (int32_t)(found - t->base) : len;
}

/* With one store the values are copied: `holders` tells from which slot. */
static void carry_group(const blending *b, blend_scratch *t, int32_t g)
{
    rw_store *to = b->to;
    const rw_store *s = b->from[0];
    rw_field f = to->field[b->field];
    size_t bytes = rw_slot_bytes(&f);
    int32_t len = to->len[g], *slot = t->holders;
    f.birth = b->none;
    rw_field_bear(&f, to->start[g], len);
    if (!s->len[g])
        return;
    for (int32_t i = 0; i < len; i++)
        slot[i] = -1;
    const int32_t *source = s->source + s->start[g];
    for (int32_t p = 0; p < s->len[g]; p++)
        slot[link_place(&t->of, source[p], len)] = p;
    const char *in = s->field[b->of[0]].data + (size_t)s->start[g] * bytes;
    char *out = f.data + (size_t)to->start[g] * bytes;
    if (bytes == sizeof(float)) {
        for (int32_t i = 0; i < len; i++) {
            float mine, its;
            memcpy(&mine, out + (size_t)i * sizeof mine, sizeof mine);
            memcpy(&its, in + (size_t)(slot[i] < 0 ? 0 : slot[i]) * sizeof its, sizeof its);
            mine = slot[i] < 0 ? mine : its;
            memcpy(out + (size_t)i * sizeof mine, &mine, sizeof mine);
        }
    } else {
        for (int32_t i = 0; i < len; i++)
            if (slot[i] >= 0)
                memcpy(out + (size_t)i * bytes, in + (size_t)slot[i] * bytes, bytes);
    }
}

static void blend_group(const blending *b, blend_scratch *t, int32_t g)
{
    rw_store *to = b->to;
    rw_field *f = &to->field[b->field];
    int32_t len = to->len[g], width = f->width;
    double start = rw_blend_start(b->how);
    for (int64_t i = 0; i < (int64_t)len * width; i++)
        t->sum[i] = start;
    memset(t->holders, 0, (size_t)len * sizeof *t->holders);
    for (int32_t k = 0; k < b->k; k++) {
        const rw_store *s = b->from[k];
        if (!s->len[g])
            continue;
        const int32_t *source = s->source + s->start[g];
        rw_values_read(&s->field[b->of[k]], s->start[g], s->len[g], t->value);
#define BLEND_SLOTS(width, two)                                                      \
    for (int32_t p = 0; p < s->len[g]; p++) {                                  \
        int32_t at = link_place(&t->of, source[p], len);                         \
        t->holders[at]++;                                                      \
        for (int32_t r = 0; r < (width); r++) {                                \
            double have = t->sum[(int64_t)at * (width) + r];                   \
            double value = t->value[(int64_t)p * (width) + r];                 \
            t->sum[(int64_t)at * (width) + r] = (two);                         \
        }                                                                      \
    }
        if (b->how > RW_BLEND_HOLDERS) {
            BLEND_SLOTS(width, rw_blend_two(b->how, have, value))
        } else if (width == 1) {
            BLEND_SLOTS(1, have + value)
        } else {
            BLEND_SLOTS(width, have + value)
        }
    }
    rw_blend_finish(b->how, b->k, width, len, t->holders, t->sum);
    for (int32_t i = 0; i < len; i++)
        for (int32_t r = 0; r < width && !t->holders[i]; r++)
            t->sum[(int64_t)i * width + r] = b->none;
    rw_values_write(f->dtype, f->data, to->start[g] * width, (int64_t)len * width, t->sum);
}

static void blend_block(const void *arg, int64_t block)
{
    const blending *b = arg;
    blend_scratch *t = &b->of_thread[rw_thread_index()];
    int32_t first = rw_block_group(b->to, b->n_blocks, block);
    for (int32_t g = first; g < rw_block_group(b->to, b->n_blocks, block + 1); g++) {
        if (!b->to->len[g])
            continue;
        learn_places(b->to, g, t);
        if (b->k == 1)
            carry_group(b, t, g);
        else
            blend_group(b, t, g);
        if (b->field == RW_WEIGHT)
            rw_weights_clip(b->to, g, b->to->start[g], b->to->len[g]);
    }
}

/* Are the fields of one kind, and of one that can be blended so? */
static bool blendable(const blending *b)
{
    const rw_field *f = &b->to->field[b->field];
    for (int32_t i = 0; i < b->k; i++) {
        const rw_field *other = &b->from[i]->field[b->of[i]];
        if (!rw_same_sizes(b->to, b->from[i]) || other->dtype != f->dtype || other->width != f->width)
            return false;
    }
    bool floats = f->dtype == RW_F32 || f->dtype == RW_F64;
    return b->k == 1 || floats || (b->how >= RW_BLEND_MIN && f->dtype != RW_I64);
}

rw_status rw_field_blend(rw_store *to, int32_t field, const rw_store *const *from,
                         const int32_t *of, int32_t k, rw_blend how, double none,
                         const rw_run *run)
{
    RW_ASSERT(rw_has_field(to, field) && from && of && k >= 1 && k <= RW_BLEND_MOST);
    RW_ASSERT(rw_is_run(run));
    rw_store fresh = *to; /* with an array of its own for the field: nothing changes until all is there */
    blending b = { .to = &fresh, .field = field, .from = from, .of = of, .k = k, .how = how,
                   .none = none, .n_blocks = rw_block_count(to) };
    if (!blendable(&b))
        return RW_ESHAPE;
    for (int32_t g = 0; g < to->n_groups; g++) {
        b.longest = rw_max64(b.longest, to->len[g]);
        for (int32_t i = 0; i < k; i++)
            b.longest = rw_max64(b.longest, from[i]->len[g]);
    }
    int64_t work = to->slots * to->group * k * RW_COST_MERGE_SLOT;
    size_t threads = (size_t)rw_threads_for(run->threads, work);
    size_t longest = (size_t)b.longest + 1, values = longest * (size_t)to->field[field].width;
    size_t slots = (size_t)rw_max64(to->top, 1), bytes = rw_slot_bytes(&to->field[field]);
    char *data = rw_alloc_array(slots, bytes);
    fresh.field[field].data = data;
    b.of_thread = rw_calloc_array(threads, sizeof *b.of_thread);
    rw_status st = data && b.of_thread ? RW_OK : RW_ENOMEM;
    for (size_t i = 0; i < threads && !st; i++) {
        blend_scratch *t = &b.of_thread[i];
        t->of = (rw_link_table){ rw_calloc_array((size_t)to->n_in, sizeof *t->of.entry), 1 };
        t->sum = rw_calloc_array(values, sizeof *t->sum);
        t->value = rw_alloc_array(values, sizeof *t->value);
        t->holders = rw_calloc_array(longest, sizeof *t->holders);
        if (!t->of.entry || !t->sum || !t->value || !t->holders)
            st = RW_ENOMEM;
    }
    if (!st)
        st = rw_blocks_exactly(run, (int)threads, b.n_blocks, blend_block, &b);
    for (int32_t g = 0; g < to->n_groups && !st; g++) /* copied: views see what lies in their array */
        if (to->len[g]) {
            size_t first = (size_t)to->start[g] * bytes;
            memcpy(to->field[field].data + first, data + first, (size_t)to->len[g] * bytes);
        }
    rw_free(data, slots * bytes);
    for (size_t i = 0; i < threads && b.of_thread; i++) {
        blend_scratch *t = &b.of_thread[i];
        rw_free(t->of.entry, (size_t)to->n_in * sizeof *t->of.entry);
        rw_free(t->sum, values * sizeof *t->sum);
        rw_free(t->value, values * sizeof *t->value);
        rw_free(t->holders, longest * sizeof *t->holders);
    }
    rw_free(b.of_thread, threads * sizeof *b.of_thread);
    return st;
}
