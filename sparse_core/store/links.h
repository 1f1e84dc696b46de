/* links.h -- links as people name them, by row and source.
 *
 * Callers have checked that rows lie in [0, n_out) and sources in [0, n_in). Finding one link
 * takes log2 of its group's slots. */
#ifndef RW_LINKS_H
#define RW_LINKS_H

#include "store/mirror.h"

/* The slot that holds a link, or -1 if there is none. */
int64_t rw_link_slot(const rw_store *s, int32_t row, int32_t source);

/* The weight in row `row` of a slot, as a double, and the reverse, rounded to the dtype. */
double rw_slot_weight(const rw_store *s, int64_t slot, int32_t row);
void rw_slot_put(rw_store *s, int64_t slot, int32_t row, double weight);

/* Of n links, their weights (of the store's dtype, 0 where there is none) and which are there;
 * either may be NULL. */
void rw_links_get(const rw_store *s, int64_t n, const int64_t *row, const int64_t *source,
                  void *weight, uint8_t *there);
/* Write the weights of n links; those that are not there are left out. */
void rw_links_put(rw_store *s, int64_t n, const int64_t *row, const int64_t *source,
                  const void *weight);
/* Sort n links by row and source, equal ones as they came: link i was number from[i] before.
 * RW_ENOMEM leaves them as they were. */
rw_status rw_links_sort(int64_t n, int64_t *row, int64_t *source, int64_t *from);

/* The links of one row, sources ascending: there are s->len[row / group]. */
void rw_row_links(const rw_store *s, int32_t row, int32_t *source, void *weight);

/* The links of one source, rows ascending: how many, and which. Through the mirror
 * where it is valid; else every group is asked, in log2 of its slots. */
int64_t rw_source_count(const rw_store *s, int32_t source);
void rw_source_links(const rw_store *s, int32_t source, int32_t *row, void *weight);

#endif
