/* panum.h - signed stereo matching as a library: link with -lpanum -lm -lpthread.
 *
 * Disparity d = x_left - x_right in pixels, left picture as reference: positive stands in front of the screen,
 * negative behind. (Parallax, which film people use, is -d.)
 *
 * Functions that can fail return 0 or one of the codes below; panum_error() then has one sentence for a person. Nothing
 * here prints, exits, or reads the environment, except PANUM_MODELS when a model's weights are looked for. A matcher
 * serves one thread at a time; several matchers may work at once.
 *
 *     PanumMatcher *matcher;
 *     if (panum_open(NULL, &matcher)) ...
 *     if (panum_match(matcher, left, left_stride, right, right_stride, width, height, 3)) ...
 *     const float *d = panum_disparity(matcher);          width*height values, rows top down
 *     panum_close(matcher);
 */
#ifndef PANUM_H
#define PANUM_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PANUM_OK = 0,
    PANUM_FAILED = 1,
    PANUM_USAGE = 2,   /* an option or argument makes no sense */
    PANUM_INPUT = 3,   /* the pictures cannot be matched */
    PANUM_WEIGHTS = 4, /* weights missing, of another model, or refused */
    PANUM_MEMORY = 6   /* not enough memory */
};

/* Begin with `PanumOptions options = PANUM_OPTIONS;` and change what you need. */
typedef struct {
    size_t size;         /* of this struct, so that later versions can add to it */
    const char *model;   /* "sgm", "s2m2-S", ...; "auto" (NULL too): the largest network whose weights are found, else
                            sgm */
    const char *weights; /* file; NULL: looked for by name */
    int threads;         /* 0: as many as the process may use */
    int positive;        /* not 0: look only in front of the screen, d >= 0 */
    int ranged;          /* not 0: search range_low..range_high pixels only; 0: found in the picture */
    double range_low, range_high;
    int64_t max_memory; /* bytes of working memory; 0: no limit */
} PanumOptions;
#define PANUM_OPTIONS \
    { sizeof(PanumOptions), NULL, NULL, 0, 0, 0, 0, 0, 0 }

typedef struct PanumMatcher PanumMatcher;

const char *panum_version(void);
/* options NULL: all defaults. */
int panum_open(const PanumOptions *options, PanumMatcher **matcher);
void panum_close(PanumMatcher *matcher); /* NULL is fine */

/* 8 bits a sample; channels 1 (grey) or 3 (RGB, interleaved); a stride is the bytes from one row to the next, negative
 * for pictures that lie bottom up. The pictures are read during the call only. */
int panum_match(PanumMatcher *matcher, const uint8_t *left, ptrdiff_t left_stride, const uint8_t *right,
                ptrdiff_t right_stride, int width, int height, int channels);

/* Results of the last match, width*height floats, owned by the matcher and valid until it matches again or is closed;
 * NULL before the first. */
const float *panum_disparity(const PanumMatcher *matcher);  /* pixels */
const float *panum_confidence(const PanumMatcher *matcher); /* 0 to 1 */
const float *panum_occlusion(const PanumMatcher *matcher); /* 1 visible in both pictures, 0 hidden from the right one */
int panum_width(const PanumMatcher *matcher);
int panum_height(const PanumMatcher *matcher);
const char *panum_describe(const PanumMatcher *matcher); /* what the last match did, for people */

/* The sentence of the last failure in this thread; "" when there was none. */
const char *panum_error(void);

#ifdef __cplusplus
}
#endif
#endif
