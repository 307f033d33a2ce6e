/* apps/lib/html.h - a report as one file: no network, no fonts or scripts from elsewhere, pictures inside it as data
 * URIs, readable without JavaScript (there is none), dark or light as the reader's system is.
 *
 * Calls append to `out` in order. Every text is escaped; formats are printf's. Errors are sticky in the Out and come
 * back from out_commit, so a report is written without looking at each call; html_image also fails for want of memory
 * and says so. */
#ifndef PANUM_APPS_HTML_H
#define PANUM_APPS_HTML_H
#include "data/image.h"

typedef struct {
    Out *out;
    int error; /* the first one, 0 so far */
} Html;

void html_begin(Html *html, Out *out, const char *title);
int html_end(Html *html); /* the Out stays the caller's, to commit or abort */

void html_heading(Html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
void html_text(Html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line set apart, for the one thing to remember. */
void html_note(Html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A command to type. */
void html_command(Html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Figures between begin and end stand side by side, at most `columns` of them, fewer on a narrow window. `alt` is for
 * who cannot see the picture. */
void html_figures_begin(Html *html, int columns);
void html_figures_end(Html *html);
void html_image(Html *html, const Image *image, const char *alt, const char *caption);
/* Two pictures of one size that take turns twice a second (CSS; still when the reader asked for less motion). */
void html_wiggle(Html *html, const Image *left, const Image *right, const char *caption);

/* A table: the head, rows of as many cells, the end. The first column is text, the others are numbers. */
void html_table_begin(Html *html, const char *caption, const char *const *heads, int columns);
void html_row(Html *html, const char *const *cells, int columns);
void html_table_end(Html *html);

/* A histogram of parallax as SVG: `bins` shares from disparity -range to +range (pixels of a picture `width` wide),
 * drawn with behind (blue) on the left and front (red) on the right as the colour map's legend has it. `second` (NULL:
 * none) is drawn over it as a line, for the truth. */
void html_parallax_histogram(Html *html, const double *shares, const double *second, int bins, double range, int width,
                             const char *caption);

/* Lines over one axis as SVG, values by their logarithm; points that are not positive and finite are left out. `flat`
 * is a value to compare with, drawn across (0: none). */
typedef struct {
    const char *name;
    const double *x, *y;
    int64_t count;
} HtmlCurve;
enum { HTML_CURVES_MAX = 8 };
void html_curves(Html *html, const HtmlCurve *curves, int count, const char *x_name, double flat, const char *flat_name,
                 const char *caption);
#endif
