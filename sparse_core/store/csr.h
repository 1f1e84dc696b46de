/* csr.h -- the structure as flat arrays, in canonical order, in and out.
 *
 * indptr[g] .. indptr[g+1] are the slots of group g, sources ascending; values
 * of a field follow in the same order, `width` a slot. This is what is saved,
 * pickled, cloned between processes and turned into SciPy matrices: it holds
 * everything that determines a result and nothing else. */
#ifndef RW_CSR_H
#define RW_CSR_H

#include "store/store.h"

/* indptr: n_groups + 1. */
void rw_csr_indptr(const rw_store *s, int64_t *indptr);
/* out: `slots` sources. */
void rw_csr_sources(const rw_store *s, int32_t *out);
/* out: slots * width values of the field's dtype. */
void rw_csr_get(const rw_store *s, int32_t field, void *out);
/* The reverse, into live slots. Weights of rows beyond n_out are written as zero. */
void rw_csr_set(rw_store *s, int32_t field, const void *in);

/* Links one by one: rows ascending, sources ascending within a row, rows beyond n_out left out.
 * A field of `group` values a slot into `out`, or from `in`: rw_store_nnz() values. */
void rw_csr_get_links(const rw_store *s, int32_t field, void *out);
void rw_csr_set_links(rw_store *s, int32_t field, const void *in);

/* Fill an empty store. Everything is checked before anything is written:
 * RW_ECORRUPT (indptr does not ascend from 0), RW_ERANGE, RW_EEXIST (a source
 * twice, or out of order), RW_EPINNED, RW_ENOMEM, RW_ESHAPE (store not empty). */
rw_status rw_csr_load(rw_store *s, const int64_t *indptr, const int32_t *sources,
                      const void *weights, rw_fault *at);

#endif
