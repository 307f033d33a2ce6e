/* apps/lib/progress.h - how far long work has come, on standard error.
 *
 * bar: one line rewritten in place, for terminals. lines: one line a minute (and the last), for logs. json: one object
 * a second, for programs. auto is bar on a terminal and lines elsewhere. The rate comes from the last half minute, so
 * that the time left settles and follows changes. */
#ifndef PANUM_APPS_LIB_PROGRESS_H
#define PANUM_APPS_LIB_PROGRESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON, PROGRESS_NONE } ProgressStyle;
#define PROGRESS_CHOICES "auto|bar|lines|json|none"
#define OPTION_PROGRESS(Type, field)                                                                                  \
    {                                                                                                                 \
        .name = "progress", .kind = OPTION_CHOICE, .value = "STYLE", .choices = PROGRESS_CHOICES, .standard = "auto", \
        .at = offsetof(Type, field), .group = "Talking",                                                              \
        .help = "how far it has come, on standard error: " PROGRESS_CHOICES                                           \
    }

enum { PROGRESS_WINDOW = 32 };
typedef struct {
    ProgressStyle style;
    const char *what, *unit; /* "match", "frames" */
    int64_t done, total;     /* total 0: not known */
    double began, shown;     /* clock seconds */
    struct {
        double at;
        int64_t done;
    } window[PROGRESS_WINDOW]; /* ring of samples at least a second apart */
    int samples;
} Progress;

void progress_begin(Progress *progress, ProgressStyle style, const char *what, const char *unit, int64_t total);
/* Right behind progress_begin: so many were done by an earlier run, and say nothing about the rate of this one. */
void progress_resume(Progress *progress, int64_t done);
/* `extra` is added to the line ("shot 431/812"), or NULL. Prints only when its time has come. */
void progress_step(Progress *progress, int64_t done, const char *extra);
void progress_end(Progress *progress); /* takes a bar away */

/* The parts, apart from clock and terminal: takes a sample at time `now`; units a second over the window (0: not
 * known yet); the line. */
void progress_sample(Progress *progress, double now, int64_t done);
double progress_rate(const Progress *progress);
void progress_line(const Progress *progress, const char *extra, char *out, size_t size);
#endif
