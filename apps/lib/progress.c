#include "apps/lib/progress.h"
#include "apps/lib/run.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double window_seconds = 30;

void progress_begin(Progress *progress, ProgressStyle style, const char *what, const char *unit, int64_t total) {
    memset(progress, 0, sizeof *progress);
    if (style == PROGRESS_AUTO) style = talk_quiet() ? PROGRESS_NONE : isatty(2) ? PROGRESS_BAR : PROGRESS_LINES;
    progress->style = style;
    progress->what = what;
    progress->unit = unit;
    progress->total = total;
    progress->began = progress->shown = clock_seconds();
    progress_sample(progress, progress->began, 0);
}

void progress_resume(Progress *progress, int64_t done) {
    progress->done = progress->window[0].done = done;
}

void progress_sample(Progress *progress, double now, int64_t done) {
    progress->done = done;
    int last = (progress->samples + PROGRESS_WINDOW - 1) % PROGRESS_WINDOW;
    /* 32 samples a second apart cover the window; the newest one moves with the work in between */
    if (progress->samples > 1) {
        int before = (progress->samples + PROGRESS_WINDOW - 2) % PROGRESS_WINDOW;
        if (progress->window[last].at - progress->window[before].at < 1) {
            progress->window[last].at = now;
            progress->window[last].done = done;
            return;
        }
    }
    int next = progress->samples++ % PROGRESS_WINDOW;
    progress->window[next].at = now;
    progress->window[next].done = done;
}

double progress_rate(const Progress *progress) {
    int count = progress->samples < PROGRESS_WINDOW ? progress->samples : PROGRESS_WINDOW;
    if (count < 2) return 0;
    int last = (progress->samples - 1) % PROGRESS_WINDOW, first = last;
    for (int i = 1; i < count; i++) {
        int at = (progress->samples - 1 - i) % PROGRESS_WINDOW;
        if (progress->window[last].at - progress->window[at].at > window_seconds) break;
        first = at;
    }
    double seconds = progress->window[last].at - progress->window[first].at;
    return seconds > 0 ? (double)(progress->window[last].done - progress->window[first].done) / seconds : 0;
}

void progress_line(const Progress *progress, const char *extra, char *out, size_t size) {
    double rate = progress_rate(progress);
    int64_t left = progress->total > progress->done ? progress->total - progress->done : 0;
    if (progress->style == PROGRESS_JSON) {
        char note[256] = "null";
        if (extra) json_quote(note, sizeof note, extra);
        snprintf(
            out, size,
            "{\"verb\":\"%s\",\"unit\":\"%s\",\"done\":%lld,\"total\":%lld,\"per_second\":%.4g,\"seconds_left\":%.0f,"
            "\"note\":%s}",
            progress->what, progress->unit, (long long)progress->done, (long long)progress->total, rate,
            rate > 0 && progress->total ? (double)left / rate : -1, note);
        return;
    }
    char done[32], total[32], eta[48] = "", share[64] = "";
    text_grouped(done, progress->done);
    text_grouped(total, progress->total);
    if (progress->total) {
        double percent = 100.0 * (double)progress->done / (double)progress->total;
        bool counted = strcmp(progress->unit, "%") != 0; /* parts of one thing are not counted */
        if (counted)
            snprintf(share, sizeof share, "%.0f%% %s/%s %s", percent, done, total, progress->unit);
        else
            snprintf(share, sizeof share, "%.0f%%", percent);
        if (rate > 0) {
            long seconds = (long)((double)left / rate + 0.5);
            snprintf(eta, sizeof eta, " eta %ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60, seconds % 60);
        }
    } else {
        snprintf(share, sizeof share, "%s %s", done, progress->unit);
    }
    char speed[48] = "";
    if (rate > 0 && strcmp(progress->unit, "%") != 0)
        snprintf(speed, sizeof speed, " %.*f a second", rate < 10 ? 2 : 0, rate);
    snprintf(out, size, "%s %s%s%s%s%s", progress->what, share, speed, eta, extra ? " " : "", extra ? extra : "");
}

void progress_step(Progress *progress, int64_t done, const char *extra) {
    double now = clock_seconds();
    progress_sample(progress, now, done);
    static const double every[] = {[PROGRESS_BAR] = 0.2, [PROGRESS_LINES] = 60, [PROGRESS_JSON] = 1};
    if (progress->style == PROGRESS_NONE || now - progress->shown < every[progress->style]) return;
    progress->shown = now;
    char line[512];
    progress_line(progress, extra, line, sizeof line);
    if (progress->style == PROGRESS_BAR)
        fprintf(stderr, "\r%.100s\033[K", line);
    else
        fprintf(stderr, "%s\n", line);
}

void progress_end(Progress *progress) {
    if (progress->style == PROGRESS_BAR) fprintf(stderr, "\r\033[K");
    if (progress->style == PROGRESS_JSON) {
        char line[512];
        progress_line(progress, NULL, line, sizeof line);
        fprintf(stderr, "%s\n", line);
    }
}
