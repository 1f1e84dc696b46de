/* target_units.h -- the units of targets when some more of them have been seen.
 *
 * Targets are standardised by the moments of all there have been; what a network has learnt goes on in
 * new units. Rows that say nothing of the latest ones, because they never varied or are far from them,
 * must not keep their scale. */
#ifndef RW_TARGET_UNITS_H
#define RW_TARGET_UNITS_H

#include "base/base.h"

/* What is known of the columns of some targets. */
typedef struct {
    double total, rows; /* the sum of weights, and how many they are */
    const double *mean, *deviation;
} rw_target_moments;

/* Columns in which `found` are further from those before than `apart` times what either set varies.
 * Of one row nobody knows how much its kind varies: it may be an outlier. */
void rw_elsewhere(int64_t n, double apart, const rw_target_moments *before,
                  const rw_target_moments *found, uint8_t *far);

/* How units follow. */
typedef struct {
    double apart;     /* see `rw_elsewhere` */
    double behind;    /* rows as many as which a level has behind it at most */
    double tolerance; /* by which units may be off, as a part of the deviation, before they move */
    bool stream;      /* these are a piece of one, not the set to learn */
} rw_unit_rules;

/* `mean`, `deviation` and `scale` become those of both sets. Outputs of before are outputs * gain + shift
 * in these units, if units move at all. `fraction` is that of the mean residual by which the level moves:
 * of n more rows n / (n + behind), less by as much as fewer came before, and all of it in columns in which
 * those before say nothing. */
typedef struct {
    double *mean, *deviation, *scale, *gain, *shift, *fraction;
    bool equal; /* no column has all rows of before behind it: both sets count alike */
    bool near;  /* the change of units is so small that it can wait */
} rw_new_units;

/* However many they are, rows in which a target was constant tell neither its deviation nor its mean:
 * what is found when it varies stands for them too. Nor do those that are elsewhere if they have varied
 * next to nothing in comparison. The pieces of a stream may come from the one and the other level in turn:
 * other far rows count there, but no more than the latest. Of two sets the latter is the one to learn.
 * `mean` and `scale` are the units of before; numbers of rows times `rounding` are the bound within which
 * two constants are equal, see `rw_merge_moments`. */
void rw_follow_targets(int64_t n, const rw_unit_rules *rules, double rounding,
                       const rw_target_moments *before, const rw_target_moments *found,
                       const double *mean, const double *scale, rw_new_units *to);

#endif
