#include "apps/lib/train_log.h"
#include "apps/lib/run.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = TRAIN_COLUMNS_MAX * 32, LOG_BYTES_MAX = 1 << 30 };

struct TrainLog {
    char *path;
    int file, columns;
    int64_t bytes, rows, room;
    double *column[TRAIN_COLUMNS_MAX];
};

static int keep_row(TrainLog *log, const double *row) {
    if (log->rows == log->room) {
        int64_t room = log->room ? 2 * log->room : 256;
        for (int c = 0; c < log->columns; c++) {
            double *more = mem_grow(log->column[c], (size_t)room * sizeof *more);
            if (!more) return ERR_MEMORY;
            log->column[c] = more;
        }
        log->room = room;
    }
    for (int c = 0; c < log->columns; c++) log->column[c][log->rows] = row[c];
    log->rows++;
    return 0;
}

static int head_text(char *line, const char *const *names, int columns) {
    int n = 0;
    for (int c = 0; c < columns; c++)
        n += snprintf(line + n, (size_t)(LINE_MAX_BYTES - n), "%s%s", names[c], c + 1 < columns ? "," : "\n");
    return n;
}

/* The rows of the kept part; the text ends with a newline and a zero. */
static int parse(TrainLog *log, char *text, const char *head) {
    size_t n = strlen(head);
    if (strncmp(text, head, n) != 0)
        return fail(ERR_INPUT, "%s: is not the table of this training; move it away", show_path(log->path));
    for (char *at = text + n; *at;) {
        char *end = strchr(at, '\n');
        double row[TRAIN_COLUMNS_MAX];
        if (!end) break;
        *end = 0;
        for (int c = 0; c < log->columns; c++) {
            char *comma = at + strcspn(at, ",");
            row[c] = *at && *at != ',' ? strtod(at, NULL) : NAN;
            at = *comma ? comma + 1 : comma;
        }
        int code = keep_row(log, row);
        if (code) return code;
        at = end + 1;
    }
    return 0;
}

/* *bytes becomes what is kept. */
static int keep_old(TrainLog *log, int64_t *bytes, const char *head) {
    uint8_t *old;
    size_t size;
    int code = access(log->path, F_OK) == 0 ? file_read(log->path, LOG_BYTES_MAX, &old, &size) : (int)ERR_INPUT;
    if (code == ERR_INPUT) { /* gone: the curves begin here */
        *bytes = 0;
        return 0;
    }
    if (code) return code;
    size_t kept = (int64_t)size < *bytes ? size : (size_t)*bytes;
    while (kept && old[kept - 1] != '\n') kept--;
    char *text = mem_alloc(kept + 1);
    if (!text) code = ERR_MEMORY;
    if (!code) {
        memcpy(text, old, kept);
        text[kept] = 0;
        code = kept ? parse(log, text, head) : 0;
        *bytes = (int64_t)kept;
    }
    mem_free(text);
    mem_free(old);
    return code;
}

static int put(TrainLog *log, const char *text, int n) {
    ssize_t done;
    do done = write(log->file, text, (size_t)n);
    while (done < 0 && errno == EINTR);
    if (done != n) {
        int e = done < 0 ? errno : ENOSPC;
        return fail(e == ENOSPC || e == EDQUOT || e == EFBIG ? ERR_MEMORY : ERR_FAILED, "%s: cannot be written: %s",
                    show_path(log->path), strerror(e));
    }
    log->bytes += n;
    return 0;
}

int train_log_open(const char *path, const char *const *names, int columns, int64_t bytes, TrainLog **out) {
    BUG_IF(columns > TRAIN_COLUMNS_MAX, "%d columns", columns);
    char head[LINE_MAX_BYTES];
    int n = head_text(head, names, columns);
    *out = NULL;
    TrainLog *log = mem_zero(1, sizeof *log);
    if (!log) return ERR_MEMORY;
    log->file = -1;
    log->columns = columns;
    log->path = mem_text(path);
    int code = log->path ? 0 : (int)ERR_MEMORY;
    if (!code && bytes) code = keep_old(log, &bytes, head);
    if (!code) {
        log->file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (bytes ? 0 : O_TRUNC), 0666);
        if (log->file < 0 || ftruncate(log->file, bytes) != 0 || lseek(log->file, 0, SEEK_END) != bytes)
            code = fail(ERR_FAILED, "%s: cannot be written: %s", show_path(path), strerror(errno));
    }
    log->bytes = bytes;
    if (!code && !bytes) code = put(log, head, n);
    if (code)
        train_log_close(log);
    else
        *out = log;
    return code;
}

void train_log_close(TrainLog *log) {
    if (!log) return;
    if (log->file >= 0) close(log->file);
    for (int c = 0; c < log->columns; c++) mem_free(log->column[c]);
    mem_free(log->path);
    mem_free(log);
}

int train_log_add(TrainLog *log, const double *row) {
    char line[LINE_MAX_BYTES];
    int n = 0;
    for (int c = 0; c < log->columns; c++) {
        if (!isnan(row[c])) n += snprintf(line + n, sizeof line - (size_t)n, "%.7g", row[c]);
        n += snprintf(line + n, sizeof line - (size_t)n, "%s", c + 1 < log->columns ? "," : "\n");
    }
    int code = put(log, line, n);
    return code ? code : keep_row(log, row);
}

int64_t train_log_bytes(const TrainLog *log) {
    return log->bytes;
}
int64_t train_log_rows(const TrainLog *log) {
    return log->rows;
}
const double *train_log_column(const TrainLog *log, int column) {
    return log->column[column];
}
