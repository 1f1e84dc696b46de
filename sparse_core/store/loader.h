/* loader.h -- a store from flat arrays that come block by block.
 *
 * The arrays are those of csr.h. rw_csr_load() takes them whole, which needs the memory of the
 * store a second time; here each block goes to its place as it comes. First how many slots each
 * group has, then their sources, then values of one field after the other, each from its first
 * slot to its last; blocks end anywhere. Until all that was announced has come and was checked
 * the store is nobody's but the loader's, and after an error it can only be freed. */
#ifndef RW_LOADER_H
#define RW_LOADER_H

#include "store/store.h"

typedef struct {
    rw_store *s;      /* borrowed, empty at the beginning                     */
    int64_t slots;    /* that were announced                                  */
    int64_t counted;  /* entries of indptr that have come                     */
    int64_t before;   /* the last of them: slots of the groups so far         */
    int64_t come;     /* slots of the present array that have come            */
    int32_t group;    /* where the next one belongs, and ...                  */
    int32_t position; /* ... how many slots its group has before it           */
    int32_t field;    /* the present array, or one of the two below           */
    uint32_t begun;   /* fields whose values have begun to come, a bit each   */
} rw_loader;

enum { RW_LOADS_INDPTR = -2, RW_LOADS_SOURCES = -1 };

/* To fill s with `slots` slots. RW_ESHAPE if s is not empty, RW_EPINNED. */
rw_status rw_loader_begin(rw_loader *l, rw_store *s, int64_t slots);

/* The next n of n_groups + 1 entries. RW_ECORRUPT: they do not ascend from 0 to the number of
 * slots; RW_ESHAPE: more than there are; RW_ENOMEM. */
rw_status rw_loader_indptr(rw_loader *l, const int64_t *indptr, int64_t n, rw_fault *at);
/* The sources of the next n slots. RW_ERANGE, RW_EEXIST (a source twice, or out of order);
 * RW_ESHAPE: it is not their turn, or more than there are. */
rw_status rw_loader_sources(rw_loader *l, const int32_t *sources, int64_t n, rw_fault *at);
/* Values of a field for the next n slots, of fields in any order, but each to its end.
 * RW_ESHAPE as above. */
rw_status rw_loader_values(rw_loader *l, int32_t field, const void *values, int64_t n);

/* Whether all has come: the sources, and values of every field that the store has. */
bool rw_loader_complete(const rw_loader *l);

#endif
