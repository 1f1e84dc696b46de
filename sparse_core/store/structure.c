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

/* The sources of a group from its steps; their hashes go to *sum. Does none lie outside? If one does,
 * what was written is without meaning. */
#define READ_STEPS(type)                                                \
    do {                                                                \
        for (int32_t k = 0; k < len; k++) {                             \
            type step;                                                  \
            memcpy(&step, from + (size_t)k * sizeof step, sizeof step); \
            at += (uint64_t)step + 1;                                   \
            source[k] = (int32_t)(uint32_t)(at - 1);                    \
            hashes += rw_hash(first + at - 1);                          \
        }                                                               \
    } while (0)

static bool read_steps(const rw_store *s, int32_t g, const char *from, int32_t len, int width,
                       int32_t *source, uint64_t *sum)
{
    uint64_t at = 0; /* one more than the source; of up to 2^31 steps of 2^32 */
    uint64_t hashes = 0, first = (uint64_t)g * (uint64_t)s->n_in;
    switch (width) {
    case 1: READ_STEPS(uint8_t); break;
    case 2: READ_STEPS(uint16_t); break;
    default: READ_STEPS(uint32_t); break;
    }
    *sum += hashes;
    return at <= (uint64_t)s->n_in;
}

/* Do lengths and widths fit the sizes, and the number of bytes? indptr: n_groups + 1. */
static bool lengths_fit(const rw_store *s, const char *bytes, size_t n, const rw_structure_head *head,
                        int64_t *indptr)
{
    size_t n_groups = (size_t)s->n_groups;
    const char *lens = bytes + sizeof *head, *widths = lens + n_groups * sizeof(int32_t);
    size_t at = (size_t)(widths - bytes) + n_groups;
    indptr[0] = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t len;
        memcpy(&len, lens + (size_t)g * sizeof len, sizeof len);
        int width = widths[g];
        if (len < 0 || len > s->n_in || (width != 1 && width != 2 && width != 4)
            || (size_t)len * (size_t)width > n - at)
            return false;
        at += (size_t)len * (size_t)width;
        indptr[g + 1] = indptr[g] + len;
    }
    return at == n && indptr[n_groups] == head->slots;
}

/* Fill the groups, whose lengths are there already; the structure's digest to *digest. Does no source
 * lie outside? */
static bool fill_groups(rw_store *s, const char *bytes, uint64_t *digest)
{
    const char *widths = bytes + sizeof(rw_structure_head) + (size_t)s->n_groups * sizeof(int32_t);
    const char *steps = widths + s->n_groups;
    *digest = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        if (!s->len[g])
            continue;
        int32_t *source = s->source + s->start[g];
        if (!read_steps(s, g, steps, s->len[g], widths[g], source, digest))
            return false;
        steps += (size_t)s->len[g] * (size_t)widths[g];
        for (int32_t f = 0; f < s->n_fields; f++)
            rw_field_bear(&s->field[f], s->start[g], s->len[g]);
        rw_weights_clip(s, g, s->start[g], s->len[g]);
    }
    return true;
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
    bool fits = lengths_fit(s, bytes, n, &head, indptr);
    uint64_t generation = (uint64_t)s->generation;
    st = fits ? rw_windows_lay(s, indptr) : RW_ECORRUPT;
    uint64_t digest = 0;
    if (!st && fill_groups(s, bytes, &digest) && rw_structure_digest(s, digest) == head.digest) {
        s->digest = digest;
    } else if (!st) { /* empty again */
        memset(indptr, 0, (n_groups + 1) * sizeof *indptr);
        s->slots = 0;
        (void)rw_windows_lay(s, indptr); /* needs no memory */
        s->generation = generation;
        st = RW_ECORRUPT;
    }
    rw_free(indptr, (n_groups + 1) * sizeof *indptr);
    return st;
}
