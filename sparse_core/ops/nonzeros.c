#include "ops/nonzeros.h"

#include "base/mem.h"
#include "base/tuning.h"

#include <string.h>

/* --- memory ----------------------------------------------------------------------- */

/* Room for `count` values of `size`, and a quarter more when it grows; contents up to the smaller size
 * are kept with `keep`. false when there is no memory: then nothing has changed. */
static bool grow_room(rw_room *r, int64_t count, size_t size, bool keep)
{
    size_t need, more;
    if (!rw_mul_size((size_t)rw_max64(count, 1), size, &need))
        return false;
    if (need <= r->bytes)
        return true;
    if (!rw_add_size(need, need / 4, &more))
        return false;
    void *data = keep ? rw_resize(r->data, r->bytes, more) : rw_alloc(more);
    if (!data)
        return false;
    if (!keep)
        rw_free(r->data, r->bytes);
    *r = (rw_room){ data, more };
    return true;
}

static void free_room(rw_room *r)
{
    rw_free(r->data, r->bytes);
    *r = (rw_room){ NULL, 0 };
}

/* Every room of a batch. */
#define NONZERO_ROOMS(x)                                                                                 \
    { &(x)->part, &(x)->source, &(x)->first, &(x)->full, &(x)->sample, &(x)->value, &(x)->rows,  \
      &(x)->cursor, &(x)->packing, &(x)->from, &(x)->reached, &(x)->entries, &(x)->begins,       \
      &(x)->counts, &(x)->work, &(x)->folded, &(x)->begin, &(x)->entry, &(x)->column }

static int64_t bit_words(int32_t n) { return ((int64_t)n + 63) / 64; }

rw_nonzeros *rw_nonzeros_new(int64_t n, rw_dtype dtype)
{
    if (n < 1 || n > RW_MAX_WIDTH || (dtype != RW_F32 && dtype != RW_F64))
        return NULL;
    rw_nonzeros *x = rw_calloc(sizeof *x);
    if (!x)
        return NULL;
    x->n = (int32_t)n;
    x->dtype = dtype;
    x->seen = rw_calloc_array((size_t)n, sizeof *x->seen);
    x->seen_bits = rw_calloc_array((size_t)bit_words(x->n), sizeof *x->seen_bits);
    if (x->seen && x->seen_bits)
        return x;
    rw_nonzeros_free(x);
    return NULL;
}

void rw_nonzeros_free(rw_nonzeros *x)
{
    if (!x)
        return;
    rw_room *rooms[] = NONZERO_ROOMS(x);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        free_room(rooms[i]);
    rw_free(x->seen, (size_t)x->n * sizeof *x->seen);
    rw_free(x->seen_bits, (size_t)bit_words(x->n) * sizeof *x->seen_bits);
    rw_free(x, sizeof *x);
}

size_t rw_nonzeros_bytes(const rw_nonzeros *x)
{
    const rw_room *rooms[] = NONZERO_ROOMS(x);
    size_t all = sizeof *x + (size_t)x->n * sizeof *x->seen
               + (size_t)bit_words(x->n) * sizeof *x->seen_bits;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        all += rooms[i]->bytes;
    return all;
}

/* --- rows of users ------------------------------------------------------------------ */

static double input_input(const rw_csr_input *in, int64_t e, int32_t j)
{
    double v;
    if (in->kind == RW_F32) {
        float narrow;
        memcpy(&narrow, in->values + e * (int64_t)sizeof narrow, sizeof narrow);
        v = (double)narrow;
    } else {
        memcpy(&v, in->values + e * (int64_t)sizeof v, sizeof v);
    }
    if (in->scale)
        v = (v - (in->shift ? in->shift[j] : 0.0)) * in->scale[j];
    return v;
}

/* What a whole source is where nothing is stored. */
static double input_absent(const rw_csr_input *in, int32_t j)
{
    return in->scale && in->shift ? (0.0 - in->shift[j]) * in->scale[j] : 0.0;
}

/* Take the columns of the rows, if these hold together. They are read this once: the user may write to
 * them meanwhile, and what is counted has to be what is filled in afterwards. */
static rw_status take_columns(rw_nonzeros *x, const rw_csr_input *in, int64_t batch)
{
    if (!grow_room(&x->begin, batch + 1, sizeof(int64_t), false)
        || !grow_room(&x->entry, batch, sizeof(int64_t), false))
        return RW_ENOMEM;
    int64_t *begin = x->begin.data, *entry = x->entry.data, end;
    begin[0] = 0;
    for (int64_t b = 0; b < batch; b++) {
        if (!rw_csr_row(in->indptr, in->rows ? in->rows[b] : b, in->entries, &entry[b], &end)
            || end < entry[b])
            return RW_ERANGE;
        begin[b + 1] = begin[b] + end - entry[b];
    }
    if (!grow_room(&x->column, begin[batch], sizeof(int32_t), false))
        return RW_ENOMEM;
    int32_t *column = x->column.data;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t e = begin[b], left = entry[b] - e; e < begin[b + 1]; e++) {
            int32_t j = rw_read_int32(in->columns + left + e);
            if (j < 0 || j >= x->n)
                return RW_ERANGE;
            if (e > begin[b] && j <= column[e - 1])
                return RW_ESHAPE;
            column[e] = j;
        }
    for (int32_t i = 0; i < in->n_whole; i++)
        if (in->whole[i] < 0 || in->whole[i] >= x->n)
            return RW_ERANGE;
        else if (i > 0 && in->whole[i] <= in->whole[i - 1])
            return RW_ESHAPE;
    return RW_OK;
}

static void put_input(void *to, rw_dtype dtype, int64_t at, double v)
{
    if (dtype == RW_F32)
        ((float *)to)[at] = (float)v;
    else
        ((double *)to)[at] = v;
}

/* --- lists -------------------------------------------------------------------------- */

enum {
    WHOLE_SOURCE = INT32_MAX, /* in place of a number of values             */
    ROW_FEWEST = 4     /* values from which on a source may be a row */
};

/* Count the values of every source in samples [b, end), and note which have any. */
static void count_values(rw_nonzeros *x, const rw_csr_input *in, int64_t b, int64_t end)
{
    const int64_t *begin = x->begin.data;
    for (int64_t e = begin[b]; e < begin[end]; e++) {
        int32_t j = ((const int32_t *)x->column.data)[e];
        x->seen_bits[j / 64] |= UINT64_C(1) << j % 64;
        x->seen[j]++;
    }
    for (int32_t i = 0; i < in->n_whole; i++) {
        int32_t j = in->whole[i];
        x->seen_bits[j / 64] |= UINT64_C(1) << j % 64;
        x->seen[j] = WHOLE_SOURCE;
    }
}

static int lowest_bit(uint64_t word)
{
#if defined(__GNUC__)
    return __builtin_ctzll(word);
#else
    int bit = 0;
    for (; !(word & 1); word >>= 1)
        bit++;
    return bit;
#endif
}

/* Number the sources that have values: `seen` becomes their numbers. Returns how many are rows. */
static int32_t number_sources(rw_nonzeros *x, rw_nonzero_part *part, int32_t lanes)
{
    int32_t *source = (int32_t *)x->source.data + part->sources, n = 0, n_full = 0;
    int32_t *full = (int32_t *)x->full.data + part->sources;
    int64_t *first = (int64_t *)x->first.data + part->first, *cursor = x->cursor.data;
    for (int64_t w = 0, words = bit_words(x->n); w < words; w++) {
        for (uint64_t word = x->seen_bits[w]; word; word &= word - 1) {
            int32_t j = (int32_t)(w * 64 + lowest_bit(word)), count = x->seen[j];
            bool row = count == WHOLE_SOURCE
                    || (count >= ROW_FEWEST && (int64_t)count * lanes >= part->samples);
            source[n] = j;
            full[n] = row ? n_full++ : -1;
            cursor[n] = first[n];
            first[n + 1] = first[n] + (row ? 0 : count);
            x->seen[j] = n++;
        }
        x->seen_bits[w] = 0;
    }
    part->n_sources = n;
    return n_full;
}

static void fill_lists(rw_nonzeros *x, const rw_csr_input *in, const rw_nonzero_part *part)
{
    const int32_t *full = (const int32_t *)x->full.data + part->sources;
    int64_t *cursor = x->cursor.data, end = rw_min64(part->sample + part->samples, x->batch);
    for (int32_t i = 0; i < in->n_whole; i++) {
        int64_t at = part->rows + (int64_t)full[x->seen[in->whole[i]]] * part->samples;
        double absent = input_absent(in, in->whole[i]);
        for (int64_t b = part->sample; b < end; b++)
            put_input(x->rows.data, x->dtype, at + b - part->sample, absent);
    }
    const int64_t *begin = x->begin.data, *entry = x->entry.data;
    for (int64_t b = part->sample; b < end; b++)
        for (int64_t e = begin[b]; e < begin[b + 1]; e++) {
            int32_t j = ((const int32_t *)x->column.data)[e], i = x->seen[j];
            double v = input_input(in, entry[b] + e - begin[b], j);
            if (full[i] >= 0) {
                int64_t at = part->rows + (int64_t)full[i] * part->samples;
                put_input(x->rows.data, x->dtype, at + b - part->sample, v);
            } else {
                ((int32_t *)x->sample.data)[cursor[i]] = (int32_t)(b - part->sample);
                put_input(x->value.data, x->dtype, cursor[i]++, v);
            }
        }
}

static rw_status list_part(rw_nonzeros *x, const rw_csr_input *in, rw_nonzero_part *part,
                           int32_t lanes)
{
    size_t size = rw_dtype_size(x->dtype);
    int64_t end = rw_min64(part->sample + part->samples, x->batch);
    count_values(x, in, part->sample, end);
    int64_t new_rows = (int64_t)number_sources(x, part, lanes) * part->samples;
    bool fits = grow_room(&x->rows, part->rows + new_rows, size, true);
    if (fits) {
        memset((char *)x->rows.data + (size_t)part->rows * size, 0, (size_t)new_rows * size);
        fill_lists(x, in, part);
    }
    const int32_t *source = (const int32_t *)x->source.data + part->sources;
    for (int32_t i = 0; i < part->n_sources; i++)
        x->seen[source[i]] = 0;
    part[1].rows = part->rows + new_rows;
    return fits ? RW_OK : RW_ENOMEM;
}

static rw_status load_lists(rw_nonzeros *x, const rw_kernels *k, const rw_csr_input *in)
{
    const int64_t *begin = x->begin.data;
    int64_t span = RW_SPAN, sources = 0, most = 0, total = begin[x->batch];
    x->n_parts = (x->batch + span - 1) / span;
    if (!grow_room(&x->part, x->n_parts + 1, sizeof(rw_nonzero_part), false))
        return RW_ENOMEM;
    rw_nonzero_part *part = x->part.data;
    for (int64_t p = 0; p < x->n_parts; p++) {
        int64_t first = p * span, here = rw_min64(span, x->n_tiles * x->tile - first);
        int64_t values = begin[rw_min64(first + span, x->batch)] - begin[first];
        int64_t mine = rw_min64(values + in->n_whole, x->n); /* no span has more sources */
        part[p] = (rw_nonzero_part){ .sample = first, .sources = sources, .first = sources + p,
                                     .samples = (int32_t)here };
        sources += mine;
        most = rw_max64(most, mine);
    }
    part[0].rows = 0;
    size_t size = rw_dtype_size(x->dtype);
    if (!grow_room(&x->source, sources, sizeof(int32_t), false)
        || !grow_room(&x->full, sources, sizeof(int32_t), false)
        || !grow_room(&x->first, sources + x->n_parts, sizeof(int64_t), false)
        || !grow_room(&x->cursor, most, sizeof(int64_t), false)
        || !grow_room(&x->sample, total, sizeof(int32_t), false)
        || !grow_room(&x->value, total, size, false))
        return RW_ENOMEM;
    int64_t *first = x->first.data;
    rw_status st = RW_OK;
    first[0] = 0;
    for (int64_t p = 0; p < x->n_parts && !st; p++) {
        st = list_part(x, in, &part[p], k->lanes);
        if (p + 1 < x->n_parts)
            first[part[p + 1].first] = first[part[p].first + part[p].n_sources];
    }
    return st;
}

/* --- tiles ------------------------------------------------------------------------------ */

typedef struct {
    const rw_nonzeros *x;
    const rw_csr_input *in;
} pack_input;

static void pack_input_task(const void *arg, int64_t tile)
{
    const pack_input *job = arg;
    const rw_tiles *t = &job->x->tiles;
    const rw_csr_input *in = job->in;
    char *at = rw_tile_at(t, tile);
    int32_t live = rw_tile_live(t, tile);
    memset(at, 0, (size_t)t->rows * (size_t)t->tile * rw_dtype_size(t->dtype));
    for (int32_t i = 0; i < in->n_whole; i++)
        for (int32_t b = 0; b < live; b++)
            put_input(at, t->dtype, (int64_t)in->whole[i] * t->tile + b,
                      input_absent(in, in->whole[i]));
    for (int32_t b = 0; b < live; b++) {
        int64_t sample = tile * t->tile + b;
        const int64_t *begin = (const int64_t *)job->x->begin.data + sample;
        int64_t left = ((const int64_t *)job->x->entry.data)[sample] - begin[0];
        for (int64_t e = begin[0]; e < begin[1]; e++) {
            int32_t j = ((const int32_t *)job->x->column.data)[e];
            put_input(at, t->dtype, (int64_t)j * t->tile + b, input_input(in, left + e, j));
        }
    }
}

static rw_status load_packed(rw_nonzeros *x, const rw_csr_input *in, int threads)
{
    size_t bytes = rw_tiles_bytes(x->n, x->batch, x->tile, x->dtype);
    if (!bytes || bytes > INT64_MAX || !grow_room(&x->packing, (int64_t)bytes, 1, false))
        return RW_ENOMEM;
    rw_status st = rw_tiles_over(&x->tiles, x->n, x->batch, x->tile, x->dtype, x->packing.data, bytes);
    if (st)
        return st;
    const pack_input job = { x, in };
    rw_parallel_tasks(rw_threads_for(threads, x->batch * x->n), x->n_tiles, pack_input_task, &job);
    return RW_OK;
}

/* --- loading ---------------------------------------------------------------------------- */

rw_status rw_nonzeros_load(rw_nonzeros *x, const rw_kernels *k, const rw_csr_input *in,
                           int64_t batch, int32_t tile, int64_t part, const void *zero,
                           int threads)
{
    RW_ASSERT(in->indptr && (in->kind == RW_F32 || in->kind == RW_F64) && part >= 0);
    RW_ASSERT((!in->shift || in->scale) && (in->whole || in->n_whole == 0) && threads >= 1);
    x->batch = 0;
    x->most_groups = 0;
    if (k->dtype != x->dtype || tile > RW_SPAN || !rw_tiles_bytes(1, batch, tile, x->dtype))
        return RW_ESHAPE;
    rw_status st = take_columns(x, in, batch);
    if (st)
        return st;
    x->tile = tile;
    x->n_tiles = (batch + tile - 1) / tile;
    x->zero = zero;
    x->values = ((const int64_t *)x->begin.data)[batch] + in->n_whole * batch;
    if (part == 0) {
        int64_t bytes = (int64_t)x->n * tile * (int64_t)rw_dtype_size(x->dtype);
        part = bytes <= k->tuning->near ? RW_NONZERO_PART_NEAR : RW_NONZERO_PART;
    }
    x->packed = (double)x->values * (double)part > (double)x->n * (double)batch;
    x->batch = batch;
    st = x->packed ? load_packed(x, in, threads) : load_lists(x, k, in);
    if (st)
        x->batch = 0;
    return st;
}

rw_nonzero_span rw_nonzeros_span(const rw_nonzeros *x, const rw_kernels *k, int64_t p)
{
    const rw_nonzero_part *part = rw_nonzeros_part(x, p);
    size_t size = rw_dtype_size(x->dtype);
    return (rw_nonzero_span){
        .first = (const int64_t *)x->first.data + part->first, .sample = x->sample.data,
        .value = x->value.data, .full = (const int32_t *)x->full.data + part->sources,
        .rows = (const char *)x->rows.data + (size_t)part->rows * size, .samples = part->samples,
        .lanes = k->lanes < x->tile ? k->lanes : x->tile
    };
}

/* --- back -------------------------------------------------------------------------------- */

static double input_at(const void *values, rw_dtype dtype, int64_t at)
{
    return dtype == RW_F32 ? (double)((const float *)values)[at] : ((const double *)values)[at];
}

void rw_nonzeros_unpack(const rw_nonzeros *x, void *out)
{
    RW_ASSERT(x->batch > 0);
    for (int64_t b = 0; b < x->batch; b++)
        for (int32_t j = 0; j < x->n; j++) {
            double v = 0;
            if (x->packed)
                v = input_at(rw_tile_at(&x->tiles, b / x->tile), x->dtype,
                             (int64_t)j * x->tile + b % x->tile);
            put_input(out, x->dtype, b * x->n + j, v);
        }
    for (int64_t p = 0; !x->packed && p < x->n_parts; p++) {
        const rw_nonzero_part *part = rw_nonzeros_part(x, p);
        const int32_t *source = rw_nonzeros_sources(x, p);
        const int32_t *full = (const int32_t *)x->full.data + part->sources;
        const int64_t *first = (const int64_t *)x->first.data + part->first;
        int64_t live = rw_min64(part->samples, x->batch - part->sample);
        for (int32_t i = 0; i < part->n_sources; i++) {
            int64_t to = part->sample * x->n + source[i], row = part->rows + (int64_t)full[i] * part->samples;
            for (int64_t b = 0; full[i] >= 0 && b < live; b++)
                put_input(out, x->dtype, to + b * x->n, input_at(x->rows.data, x->dtype, row + b));
            for (int64_t e = first[i]; e < first[i + 1]; e++)
                put_input(out, x->dtype, to + ((const int32_t *)x->sample.data)[e] * (int64_t)x->n,
                          input_at(x->value.data, x->dtype, e));
        }
    }
    for (int64_t b = 0; x->zero && b < x->batch; b++)
        for (int32_t j = 0; j < x->n; j++) {
            int64_t at = b * x->n + j;
            put_input(out, x->dtype, at,
                      input_at(out, x->dtype, at) + input_at(x->zero, x->dtype, j));
        }
}

bool rw_nonzeros_finite(const rw_nonzeros *x)
{
    if (x->packed)
        return rw_tiles_finite(&x->tiles, 1);
    bool finite = true;
    const rw_nonzero_part *last = rw_nonzeros_part(x, x->n_parts - 1);
    int64_t listed = ((const int64_t *)x->first.data)[last->first + last->n_sources];
    for (int64_t e = 0; e < listed; e++)
        finite &= input_at(x->value.data, x->dtype, e) - input_at(x->value.data, x->dtype, e) == 0;
    for (int64_t e = 0; e < last[1].rows; e++)
        finite &= input_at(x->rows.data, x->dtype, e) - input_at(x->rows.data, x->dtype, e) == 0;
    return finite;
}

/* --- the slots that are reached ------------------------------------------------------------ */

/* Slots are sorted by group: tasks take sources, or groups, that follow each other; each counts what it finds
 * of every group, and then files it from where the tasks before it end. */
typedef struct {
    rw_nonzeros *x;
    const rw_store *s;
    int64_t part, tasks;
    int64_t *from; /* of the part */
} reach_job;

/* A slot in the mirror. */
typedef struct {
    int32_t group, position;
} mirror_entry;

/* How many sources ahead of their use the mirror's lines are asked for: memory takes as long. */
enum { SOURCES_AHEAD = 8 };
#if defined(__GNUC__)
#define RW_ASK(address) __builtin_prefetch(address)
#else
#define RW_ASK(address) ((void)(address))
#endif

static int64_t *counts_of(const reach_job *job, int64_t task)
{
    return (int64_t *)job->x->counts.data + task * job->s->n_groups;
}

/* What slots that read a source are filed with: its only value, or its number. */
typedef struct {
    int32_t sample;
    double value;
} filed_value;

static filed_value value_to_file(const reach_job *job, int32_t i)
{
    const rw_nonzeros *x = job->x;
    const int64_t *first = (const int64_t *)x->first.data + rw_nonzeros_part(x, job->part)->first;
    if (first[i + 1] - first[i] != 1)
        return (filed_value){ -1 - i, 0 };
    return (filed_value){ ((const int32_t *)x->sample.data)[first[i]],
                          input_at(x->value.data, x->dtype, first[i]) };
}

static void file_slot(rw_dtype dtype, void *reached, int64_t at, int32_t slot, filed_value v)
{
    if (dtype == RW_F32)
        ((rw_reached_f32 *)reached)[at] = (rw_reached_f32){ slot, v.sample, (float)v.value };
    else
        ((rw_reached_f64 *)reached)[at] = (rw_reached_f64){ slot, v.sample, v.value };
}

/* --- through the mirror */

/* The sources of a task. */
static int32_t first_source(const reach_job *job, int64_t task)
{
    return (int32_t)(task * rw_nonzeros_part(job->x, job->part)->n_sources / job->tasks);
}

/* Where the entries of each source are to be: one after another. */
static void place_sources(const reach_job *job)
{
    const rw_mirror *m = &job->s->mirror;
    const int32_t *source = rw_nonzeros_sources(job->x, job->part);
    int64_t *begin = job->x->begins.data;
    int32_t n = rw_nonzeros_part(job->x, job->part)->n_sources;
    begin[0] = 0;
    for (int32_t i = 0; i < n; i++)
        begin[i + 1] = begin[i] + m->len[source[i]];
}

/* Copies the entries of some sources, which lie apart in the mirror, and counts them. */
static void copy_entries(const void *arg, int64_t task)
{
    const reach_job *job = arg;
    const rw_mirror *m = &job->s->mirror;
    const int32_t *source = rw_nonzeros_sources(job->x, job->part);
    const int64_t *begin = job->x->begins.data;
    int64_t *count = counts_of(job, task);
    int32_t end = first_source(job, task + 1);
    memset(count, 0, (size_t)job->s->n_groups * sizeof *count);
    for (int32_t i = first_source(job, task); i < end; i++) {
        if (i + SOURCES_AHEAD < end) {
            int64_t ahead = m->start[source[i + SOURCES_AHEAD]];
            RW_ASK(m->group + ahead);
            RW_ASK(m->position + ahead);
        }
        const int32_t *group = m->group + m->start[source[i]];
        const int32_t *position = m->position + m->start[source[i]];
        mirror_entry *to = (mirror_entry *)job->x->entries.data + begin[i];
        for (int64_t e = 0, n = begin[i + 1] - begin[i]; e < n; e++) {
            to[e] = (mirror_entry){ group[e], position[e] };
            count[group[e]]++;
        }
    }
}

static void file_entries(const void *arg, int64_t task)
{
    const reach_job *job = arg;
    const int64_t *begin = job->x->begins.data;
    const mirror_entry *entries = job->x->entries.data;
    int64_t *at = counts_of(job, task);
    void *reached = job->x->reached.data;
    rw_dtype dtype = job->x->dtype;
    for (int32_t i = first_source(job, task), end = first_source(job, task + 1); i < end; i++) {
        filed_value v = value_to_file(job, i);
        for (int64_t e = begin[i], last = begin[i + 1]; e < last; e++)
            file_slot(dtype, reached, at[entries[e].group]++, entries[e].position, v);
    }
}

/* --- by the source of every slot */

/* The groups of a task. */
static int32_t first_group(const reach_job *job, int64_t task)
{
    return (int32_t)(task * job->s->n_groups / job->tasks);
}

static int has_values(const rw_nonzeros *x, int32_t j)
{
    return (int)(x->seen_bits[j / 64] >> j % 64 & 1);
}

/* No branch depends on what is found: no machine could foresee it. */
static void count_slots(const void *arg, int64_t task)
{
    const reach_job *job = arg;
    const rw_store *s = job->s;
    int64_t *count = counts_of(job, task);
    memset(count, 0, (size_t)s->n_groups * sizeof *count);
    for (int32_t g = first_group(job, task); g < first_group(job, task + 1); g++) {
        const int32_t *source = s->source + s->start[g];
        int32_t found = 0;
        for (int32_t k = 0; k < s->len[g]; k++)
            found += has_values(job->x, source[k]);
        count[g] = found;
    }
}

static void file_slots_of_groups(const void *arg, int64_t task)
{
    enum { SLOTS_AT_ONCE = 256 }; /* a bound of the stack, 1 KB */
    const reach_job *job = arg;
    const rw_store *s = job->s;
    int64_t *at = counts_of(job, task);
    int32_t found[SLOTS_AT_ONCE];
    for (int32_t g = first_group(job, task); g < first_group(job, task + 1); g++) {
        const int32_t *source = s->source + s->start[g];
        for (int32_t k = 0; k < s->len[g]; k += SLOTS_AT_ONCE) {
            int32_t n = 0, end = (int32_t)rw_min64(s->len[g] - k, SLOTS_AT_ONCE);
            for (int32_t i = 0; i < end; i++) { /* each is written, and overwritten unless it is kept */
                found[n] = k + i;
                n += has_values(job->x, source[k + i]);
            }
            for (int32_t i = 0; i < n; i++)
                file_slot(job->x->dtype, job->x->reached.data, at[g]++, found[i],
                          value_to_file(job, job->x->seen[source[found[i]]]));
        }
    }
}

/* --- either */

/* From counts to where each task files: by group, and there by task. */
static int64_t place_counts(const reach_job *job, int64_t total)
{
    for (int32_t g = 0; g < job->s->n_groups; g++) {
        job->from[g] = total;
        for (int64_t task = 0; task < job->tasks; task++) {
            int64_t *count = &counts_of(job, task)[g], here = *count;
            *count = total;
            total += here;
        }
    }
    job->from[job->s->n_groups] = total;
    return total;
}

/* Let `seen` and its bits hold the numbers of the sources of a part, or nothing. */
static void see_sources(const reach_job *job, bool see)
{
    rw_nonzeros *x = job->x;
    const int32_t *source = rw_nonzeros_sources(x, job->part);
    for (int32_t i = 0, n = rw_nonzeros_part(x, job->part)->n_sources; i < n; i++) {
        x->seen[source[i]] = see ? i : 0;
        if (see)
            x->seen_bits[source[i] / 64] |= UINT64_C(1) << source[i] % 64;
        else
            x->seen_bits[source[i] / 64] = 0;
    }
}

/* Slots of one part, behind `total` of those before. */
static rw_status reach_part(reach_job *job, int threads, int64_t *total)
{
    rw_nonzeros *x = job->x;
    bool mirror = job->s->mirror.valid;
    int32_t n = rw_nonzeros_part(x, job->part)->n_sources;
    job->tasks = rw_max64(1, rw_min64(threads, mirror ? n : job->s->n_groups));
    if (mirror) {
        if (!grow_room(&x->begins, (int64_t)n + 1, sizeof(int64_t), false))
            return RW_ENOMEM;
        place_sources(job);
        if (!grow_room(&x->entries, ((int64_t *)x->begins.data)[n], sizeof(mirror_entry), false))
            return RW_ENOMEM;
    } else {
        see_sources(job, true);
    }
    rw_parallel_tasks(threads, job->tasks, mirror ? copy_entries : count_slots, job);
    int64_t all = place_counts(job, *total);
    size_t size = x->dtype == RW_F32 ? sizeof(rw_reached_f32) : sizeof(rw_reached_f64);
    bool fits = grow_room(&x->reached, all, size, true);
    if (fits)
        rw_parallel_tasks(threads, job->tasks, mirror ? file_entries : file_slots_of_groups, job);
    if (!mirror)
        see_sources(job, false);
    *total = all;
    return fits ? RW_OK : RW_ENOMEM;
}

static rw_status reach_lists(rw_nonzeros *x, const rw_store *s, int threads)
{
    int64_t groups = s->n_groups, total = 0;
    threads = rw_threads_for(threads, s->slots);
    if (!grow_room(&x->from, x->n_parts * (groups + 1), sizeof(int64_t), false)
        || !grow_room(&x->counts, groups * threads, sizeof(int64_t), false))
        return RW_ENOMEM;
    rw_status st = RW_OK;
    for (reach_job job = { .x = x, .s = s }; job.part < x->n_parts && !st; job.part++) {
        job.from = (int64_t *)x->from.data + job.part * (groups + 1);
        st = reach_part(&job, threads, &total);
    }
    x->n_reached = total;
    return st;
}

rw_status rw_nonzeros_reach(rw_nonzeros *x, const rw_store *s, int threads)
{
    RW_ASSERT(x->batch > 0 && threads >= 1);
    x->most_groups = 0;
    x->n_reached = 0;
    if (s->n_in != x->n || s->field[RW_WEIGHT].dtype != x->dtype)
        return RW_ESHAPE;
    size_t size = rw_dtype_size(x->dtype);
    int64_t line = RW_ALIGNMENT / (int64_t)size;
    int64_t samples = rw_min64(RW_SPAN, x->n_tiles * x->tile);
    x->work_values = (samples * s->group + line - 1) / line * line;
    if (x->work_values > INT64_MAX / threads
        || !grow_room(&x->work, x->work_values * threads, size, false)
        || !grow_room(&x->folded, rw_store_rows(s) + RW_ROW_PAD, size, false))
        return RW_ENOMEM;
    rw_status st = x->packed ? RW_OK : reach_lists(x, s, threads);
    if (st == RW_OK)
        x->most_groups = s->n_groups;
    return st;
}
