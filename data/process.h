/* data/process.h - programs we start: ffmpeg and ffprobe behind pipes.
 *
 * No shell is involved: arguments are passed as they are. The child gets our end of one pipe (its standard output or
 * its standard input; the others are /dev/null), a group of its own, so that Ctrl-C in the terminal reaches only us,
 * and dies with us even when we are killed. What it writes to standard error is always taken off its hands, however
 * much that is, and the last of it is kept for the sentence when it fails.
 *
 * Every Process ends in process_finish or process_kill, which reap it. A child that neither gives nor takes anything
 * for `patience` seconds while we wait for it counts as hung. Failures are ERR_TOOL and quote its last lines.
 * A Process belongs to the thread that started it. */
#ifndef PANUM_DATA_PROCESS_H
#define PANUM_DATA_PROCESS_H
#include <stdbool.h>
#include <stddef.h>

typedef enum {
    PROCESS_OUTPUT, /* we read its standard output */
    PROCESS_INPUT,  /* we write to its standard input */
    PROCESS_TALK,   /* we read its standard output and standard error, mixed: for what a program only tells people */
} ProcessPipe;

typedef struct {
    ProcessPipe pipe;
    double patience;       /* seconds; 0: PROCESS_PATIENCE */
    bool (*stopped)(void); /* asked several times a second while waiting: true ends the wait with ERR_STOPPED; NULL */
} ProcessOptions;
enum { PROCESS_PATIENCE = 120 };

typedef struct Process Process;

/* arguments[0] is the program: a path when it holds a slash, else looked for in PATH; the list ends with NULL.
 * ERR_TOOL when there is no such program or it cannot be started. */
int process_start(const char *const *arguments, const ProcessOptions *options, Process **process);
/* Reads until `want` bytes are there or its output ends; *got says how many came. The end is no failure. */
int process_read(Process *process, void *bytes, size_t want, size_t *got);
int process_write(Process *process, const void *bytes, size_t size);
/* How a program ended. */
enum { PROCESS_NAME = 64, PROCESS_WORDS = 600 };
typedef struct {
    int signal, code;          /* killed by (0: it was not); exit code */
    char name[PROCESS_NAME];   /* of the program, printable */
    char words[PROCESS_WORDS]; /* as process_last_words */
} ProcessEnd;
/* Closes our end, waits for the end of it and frees it. Fails only when that end does not come or is not waited for. */
int process_end(Process **process, ProcessEnd *end);
/* ERR_TOOL unless it ended by itself with exit code 0. */
int process_judge(const ProcessEnd *end);
/* Both in one. */
int process_finish(Process **process);
/* Ends it at once, and frees it; the error set before stays. NULL inside is fine. */
void process_kill(Process **process);
/* The last lines it wrote to standard error, made printable, without ffmpeg's "[mov @ 0x55d2b1a0]" before them, joined
 * by " | "; "" for none. Valid until the next call for this Process. */
const char *process_last_words(Process *process);
#endif
