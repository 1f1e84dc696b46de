#include "store/structure.h"
#include "base/mem.h"
#include "store/digest.h"

#include <string.h>

#define MAGIC 0x3153544352545752u /* "RWTRCTS1" */

/* The longest step of a group that is not empty, whose first is that from -1. */
static int32_t longest_step(const int32_t *source, int32_t len)
{
    int32_t longest = source[0];
    for (int32_t k = 1; k < len; k++) {
        int32_t step = source[k] - source[k - 1] - 1;
        longest = step > longest ? step : longest;
    }
    return longest;
}

static uint8_t width_of(int32_t longest)
{
    return longest <= UINT8_MAX ? 1 : longest <= UINT16_MAX ? 2 : 4;
}

size_t rw_structure_size(const rw_store *s)
{
    size_t n = sizeof(rw_structure_head) + (size_t)s->n_groups * (sizeof(int32_t) + 1);
    for (int32_t g = 0; g < s->n_groups; g++)
        if (s->len[g])
            n += (size_t)s->len[g] * width_of(longest_step(s->source + s->start[g], s->len[g]));
    return n;
}

#define WRITE_STEPS(type)                                             \
    do {                                                              \
        for (int32_t k = 0, before = -1; k < len; before = source[k++]) { \
            type step = (type)(source[k] - before - 1);               \
            memcpy(to + (size_t)k * sizeof step, &step, sizeof step); \
        }                                                             \
    } while (0)

static void write_steps(char *to, const int32_t *source, int32_t len, uint8_t width)
{
    switch (width) {
    case 1: WRITE_STEPS(uint8_t); break;
    case 2: WRITE_STEPS(uint16_t); break;
    default: WRITE_STEPS(uint32_t); break;
    }
}

void rw_structure_write(const rw_store *s, void *out)
{
    RW_ASSERT(out);
    rw_structure_head head = { MAGIC, s->n_out, s->n_in, s->group, 0, s->slots,
                               rw_store_digest(s) };
    char *len = (char *)out + sizeof head, *width = len + (size_t)s->n_groups * sizeof(int32_t);
    char *steps = width + s->n_groups;
    memcpy(out, &head, sizeof head);
    memcpy(len, s->len, (size_t)s->n_groups * sizeof(int32_t));
    for (int32_t g = 0; g < s->n_groups; g++) {
        width[g] = 1;
        if (!s->len[g])
            continue;
        const int32_t *source = s->source + s->start[g];
        uint8_t bytes = width_of(longest_step(source, s->len[g]));
        width[g] = (char)bytes;
        write_steps(steps, source, s->len[g], bytes);
        steps += (size_t)s->len[g] * bytes;
    }
}

rw_status rw_structure_read_head(const void *bytes, size_t n, rw_structure_head *head)
{
    RW_ASSERT(bytes && head);
    if (n < sizeof *head)
        return RW_ECORRUPT;
    rw_structure_head h;
    memcpy(&h, bytes, sizeof h);
    bool sizes = h.n_out >= 1 && h.n_out <= RW_MAX_WIDTH && h.n_in >= 1 && h.n_in <= RW_MAX_WIDTH;
    bool group = h.group == 1 || h.group == 2 || h.group == 4 || h.group == 8;
    if (h.magic != MAGIC || h.zero || !sizes || !group)
        return RW_ECORRUPT;
    size_t n_groups = ((size_t)h.n_out + (size_t)h.group - 1) / (size_t)h.group;
    size_t least = sizeof h + n_groups * (sizeof(int32_t) + 1);
    if (n < least || h.slots < 0 || (uint64_t)h.slots > n - least) /* a step has a byte at least */
        return RW_ECORRUPT;
    *head = h;
    return RW_OK;
}

/* Goes through the steps of a group: `at` is the source that each leads to. */
#define EACH_STEP(type, what)                                           \
    do {                                                                \
        for (int32_t k = 0; k < len; k++) {                             \
            type step;                                                  \
            memcpy(&step, from + (size_t)k * sizeof step, sizeof step); \
            at += (int64_t)step + 1;                                    \
            what;                                                       \
        }                                                               \
    } while (0)

#define EACH_STEP_OF(width, what)                  \
    switch (width) {                               \
    case 1: EACH_STEP(uint8_t, what); break;       \
    case 2: EACH_STEP(uint16_t, what); break;      \
    default: EACH_STEP(uint32_t, what); break;     \
    }

/* Does no source of a group lie outside? Their hashes go to *sum. */
static bool steps_fit(const rw_store *s, int32_t g, const char *from, int32_t len, int width,
                      uint64_t *sum)
{
    int64_t at = -1;
    uint64_t hashes = 0, first = (uint64_t)g * (uint64_t)s->n_in;
    EACH_STEP_OF(width, hashes += rw_hash(first + (uint64_t)at))
    *sum += hashes;
    return at < s->n_in;
}

static void read_steps(const char *from, int32_t len, int width, int32_t *source)
{
    int64_t at = -1;
    EACH_STEP_OF(width, source[k] = (int32_t)at)
}

/* Do lengths, widths, steps and digest fit together? indptr: n_groups + 1. */
static bool structure_fits(const rw_store *s, const char *bytes, size_t n,
                           const rw_structure_head *head, int64_t *indptr, uint64_t *digest)
{
    size_t n_groups = (size_t)s->n_groups;
    const char *lens = bytes + sizeof *head, *widths = lens + n_groups * sizeof(int32_t);
    size_t at = (size_t)(widths - bytes) + n_groups;
    indptr[0] = 0;
    *digest = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t len;
        memcpy(&len, lens + (size_t)g * sizeof len, sizeof len);
        int width = widths[g];
        if (len < 0 || len > s->n_in || (width != 1 && width != 2 && width != 4)
            || (size_t)len * (size_t)width > n - at
            || !steps_fit(s, g, bytes + at, len, width, digest))
            return false;
        at += (size_t)len * (size_t)width;
        indptr[g + 1] = indptr[g] + len;
    }
    return at == n && indptr[n_groups] == head->slots
        && rw_structure_digest(s, *digest) == head->digest;
}

rw_status rw_structure_load(rw_store *s, const void *bytes, size_t n)
{
    rw_structure_head head;
    rw_status st = rw_structure_read_head(bytes, n, &head);
    if (st)
        return st;
    if (s->slots || s->n_out != head.n_out || s->n_in != head.n_in || s->group != head.group)
        return RW_ESHAPE;
    if (s->pins)
        return RW_EPINNED;
    size_t n_groups = (size_t)s->n_groups;
    int64_t *indptr = rw_alloc_array(n_groups + 1, sizeof *indptr);
    if (!indptr)
        return RW_ENOMEM;
    uint64_t digest;
    bool fits = structure_fits(s, bytes, n, &head, indptr, &digest);
    st = fits ? rw_windows_lay(s, indptr) : RW_ECORRUPT;
    rw_free(indptr, (n_groups + 1) * sizeof *indptr);
    if (st)
        return st;

    s->digest = digest;
    const char *widths = (const char *)bytes + sizeof head + n_groups * sizeof(int32_t);
    const char *steps = widths + n_groups;
    for (int32_t g = 0; g < s->n_groups; g++) {
        if (!s->len[g])
            continue;
        read_steps(steps, s->len[g], widths[g], s->source + s->start[g]);
        steps += (size_t)s->len[g] * (size_t)widths[g];
        for (int32_t f = 0; f < s->n_fields; f++)
            rw_field_bear(&s->field[f], s->start[g], s->len[g]);
        rw_weights_clip(s, g, s->start[g], s->len[g]);
    }
    return RW_OK;
}
