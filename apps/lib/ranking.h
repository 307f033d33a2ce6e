/* apps/lib/ranking.h - does a score know what it speaks of? */
#ifndef PANUM_APPS_LIB_RANKING_H
#define PANUM_APPS_LIB_RANKING_H
#include <stdbool.h>
#include <stdint.h>

/* How well `confidence` ranks errors (Wannenwetsch et al., ICCV 2017): leave out the least confident pixels one after
 * another and follow the mean error of those that stay. The area between that curve and the one that leaves out the
 * largest errors first, as a share of the same for leaving out at random: 0 is perfect, 1 is as good as chance, above 1
 * worse. Equal confidences count as ranked at random among themselves. NaN for no pixels or no error; -1 without
 * memory. */
double ranking_sparsification(const float *confidence, const float *error, int64_t count);

/* Average precision of finding the positives by descending score: the mean, over the positives, of the share of
 * positives among all that score as high or higher. NaN without positives; -1 without memory. */
double ranking_average_precision(const float *score, const bool *positive, int64_t count);
#endif
