/* digest.h -- a number that says which slots a store has.
 *
 * Every place has a hash of its own, and the digest is their sum over the live slots: so an edit
 * adds what comes and takes away what goes, and neither the history nor the order of edits leaves
 * a trace. Stores of one shape with the same digest have the same structure, but for a chance of
 * 2^-64 each; whoever makes up structures on purpose can make two with one digest. */
#ifndef RW_DIGEST_H
#define RW_DIGEST_H

#include "base/rng.h"
#include "store/store.h"

/* The hash of a number, such as that of a place: both halves of a product whose factors depend on it
 * in different ways. */
static inline uint64_t rw_hash(uint64_t number)
{
    uint64_t z = (number + 1) * RW_GOLDEN;
#ifdef __SIZEOF_INT128__ /* halves of a union stay in registers; gcc puts shifted ones into memory */
    union { rw_u128 whole; uint64_t half[2]; } product = { (rw_u128)z * (z ^ RW_ROOT_3) };
    return product.half[0] ^ product.half[1];
#else
    uint64_t high, low = rw_mulhilo(z, z ^ RW_ROOT_3, &high);
    return low ^ high;
#endif
}

static inline uint64_t rw_place_hash(const rw_store *s, int32_t group, int32_t source)
{
    return rw_hash((uint64_t)group * (uint64_t)s->n_in + (uint64_t)source);
}

/* Of `n` slots of a group from `slot` on: by fours, so that multiplications alone take the time. */
static inline uint64_t rw_slots_hash(const rw_store *s, int32_t group, int64_t slot, int32_t n)
{
    uint64_t sum = 0;
    int64_t end = slot + n;
    for (; slot + 3 < end; slot += 4) {
        sum += rw_place_hash(s, group, s->source[slot]);
        sum += rw_place_hash(s, group, s->source[slot + 1]);
        sum += rw_place_hash(s, group, s->source[slot + 2]);
        sum += rw_place_hash(s, group, s->source[slot + 3]);
    }
    for (; slot < end; slot++)
        sum += rw_place_hash(s, group, s->source[slot]);
    return sum;
}

/* Of all live slots, counted anew: what s->digest must be. In store.c, where compilers optimize for speed. */
uint64_t rw_digest_count(const rw_store *s);

/* The digest of a structure, with its sizes, from the sum of its hashes. */
static inline uint64_t rw_structure_digest(const rw_store *s, uint64_t sum)
{
    uint64_t sizes = (uint64_t)s->n_out << 32 | (uint64_t)s->n_in;
    return rw_split_mix(sum, rw_split_mix(sizes, (uint64_t)s->group));
}
static inline uint64_t rw_store_digest(const rw_store *s)
{
    return rw_structure_digest(s, s->digest);
}

#endif
