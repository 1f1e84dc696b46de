/* target_units.c -- column by column: which rows count, their moments, and the change of units. */
#include "ops/target_units.h"

#include <math.h>

#include "ops/moments.h"

static bool is_elsewhere(double apart, const rw_target_moments *before,
                         const rw_target_moments *found, int64_t j)
{
    double part = 4 * apart; /* the difference may overflow */
    double distance = fabs(found->mean[j] / part - before->mean[j] / part) * 4;
    return found->rows != 1 && distance > fmax(before->deviation[j], found->deviation[j]);
}

void rw_elsewhere(int64_t n, double apart, const rw_target_moments *before,
                  const rw_target_moments *found, uint8_t *far)
{
    for (int64_t j = 0; j < n; j++)
        far[j] = is_elsewhere(apart, before, found, j);
}

/* Moments of `found` and of those before, as if they had this weight and so many rows. */
static void merge_column(const rw_target_moments *before, const rw_target_moments *found, int64_t j,
                         double total, double rows, double rounding, double *mean, double *deviation)
{
    *mean = before->mean[j];
    *deviation = before->deviation[j];
    double fraction = rw_weight_share(total, found->total);
    rw_merge_moments(1, fraction, (rows + found->rows) * rounding, mean, deviation, found->mean + j,
                     found->deviation + j);
}

void rw_follow_targets(int64_t n, const rw_unit_rules *rules, double rounding,
                       const rw_target_moments *before, const rw_target_moments *found,
                       const double *mean, const double *scale, rw_new_units *to)
{
    double usual = rules->stream ? found->rows / (found->rows + fmin(before->rows, rules->behind)) : 0;
    to->equal = to->near = true;
    for (int64_t j = 0; j < n; j++) {
        bool far = is_elsewhere(rules->apart, before, found, j), still = before->deviation[j] == 0;
        bool little = before->deviation[j] * rules->apart < found->deviation[j];
        bool replaced = far && (!rules->stream || little), unlike = still || replaced;
        if (replaced || (still && found->deviation[j] > 0)) {
            to->mean[j] = found->mean[j];
            to->deviation[j] = found->deviation[j];
        } else if (still || far) { /* the latest may be constant as well, at another level */
            merge_column(before, found, j, fmin(before->total, found->total),
                         fmin(before->rows, found->rows), rounding, to->mean + j, to->deviation + j);
        } else {
            merge_column(before, found, j, before->total, before->rows, rounding, to->mean + j,
                         to->deviation + j);
        }
        to->equal &= still || far;
        double width = to->deviation[j] == 0 ? 1 : to->deviation[j];
        double shift = (mean[j] / 4 - to->mean[j] / 4) / width * 4; /* likewise */
        to->near &= fabs(width / scale[j] - 1) <= rules->tolerance && fabs(shift) <= rules->tolerance;
        /* Targets that say nothing of these have no scale for them: what stands for it is as good in any,
         * and around another level too, which may be any number of deviations away. */
        to->scale[j] = width;
        to->gain[j] = (unlike ? width : scale[j]) / width;
        to->shift[j] = unlike ? 0 : shift;
        to->fraction[j] = far || unlike ? 1 : usual;
    }
}
