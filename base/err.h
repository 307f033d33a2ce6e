/* base/err.h - how a function says that the world is wrong.
 *
 * A function that can fail returns 0 or the positive error code it has set; one that returns a pointer returns NULL.
 * The sentence is kept per thread: it names the file, what is wrong with what evidence, and what to do.
 * Nothing below apps/ prints or exits. The codes are the program's exit codes.
 * When the *program* is wrong (a shape in a model, a broken invariant) there is no error value: see panum_bug(). */
#ifndef PANUM_BASE_ERR_H
#define PANUM_BASE_ERR_H
#include <stdbool.h>
#include <stddef.h>

typedef enum {
    ERR_NONE = 0,
    ERR_FAILED = 1,    /* ran, but some inputs failed; or an unexpected failure */
    ERR_USAGE = 2,     /* wrong command line */
    ERR_INPUT = 3,     /* input missing, unreadable or unsupported */
    ERR_WEIGHTS = 4,   /* weights missing, of another model, or refused */
    ERR_DEVICE = 5,    /* device or driver, when asked for explicitly */
    ERR_MEMORY = 6,    /* memory or disk exhausted */
    ERR_LIMITS = 7,    /* a check found its limits broken */
    ERR_TOOL = 8,      /* an external program (ffmpeg) failed */
    ERR_STOPPED = 130, /* interrupted; resumable where the verb says so */
} ErrCode;

/* Sets this thread's error (replacing an earlier one) and returns `code`, so that `return fail(ERR_INPUT, ...)` reads
 * well. */
int fail(ErrCode code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "text: " before the sentence already set and returns its code; for callers that know the file's name. */
int fail_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));

ErrCode err_code(void);         /* of the last failure in this thread, ERR_NONE if none */
const char *err_sentence(void); /* never NULL, without newline, at most 1,023 bytes */
void err_clear(void);
/* Copies `text` into `out` with control characters and broken UTF-8 escaped, so that a hostile file name cannot
 * drive a terminal. Returns `out`. */
const char *err_printable(char *out, size_t size, const char *text);

/* The program is wrong: prints where and why to stderr and aborts. Never reachable from outside data. */
void panum_bug(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define BUG_IF(condition, ...)                                     \
    do {                                                           \
        if (condition) panum_bug(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)
#endif
