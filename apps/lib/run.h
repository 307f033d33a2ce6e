/* apps/lib/run.h - what every verb shares while it runs: signals, standard streams, and talking to people.
 *
 * Results go to standard output or to files; everything said to people goes to standard error. SIGINT, SIGTERM and
 * SIGHUP set a flag that long work looks at between pictures; a second one ends the program at once. A part file left
 * by that is removed by the next run in the same folder (out_sweep). */
#ifndef PANUM_APPS_LIB_RUN_H
#define PANUM_APPS_LIB_RUN_H
#include <stdbool.h>
#include <stddef.h>

/* Call first in main: descriptors 0, 1 and 2 exist, SIGPIPE is ignored, stop signals are caught. */
void run_begin(void);
bool run_stopped(void);
/* Sets ERR_STOPPED ("interrupted; WHAT") and returns it. */
int run_stop(const char *what);
/* Flushes standard output: ERR_FAILED "output closed" when its reader is gone, ERR_MEMORY when the disk is full. */
int run_finish_output(void);

/* The options -q, -v and --log of every verb that has something to say. */
typedef struct {
    bool quiet;
    int verbose;
    const char *log;
} TalkOptions;
#define OPTIONS_TALK(Type, field)                                                                                 \
    {.name = "quiet",                                                                                             \
     .letter = 'q',                                                                                               \
     .kind = OPTION_FLAG,                                                                                         \
     .at = offsetof(Type, field.quiet),                                                                           \
     .group = "Talking",                                                                                          \
     .help = "say nothing unless something is wrong"},                                                            \
        {.name = "verbose",                                                                                       \
         .letter = 'v',                                                                                           \
         .kind = OPTION_COUNT,                                                                                    \
         .most = 2,                                                                                               \
         .at = offsetof(Type, field.verbose),                                                                     \
         .group = "Talking",                                                                                      \
         .help = "say more; twice: say everything"},                                                              \
    {                                                                                                             \
        .name = "log", .kind = OPTION_PATH, .value = "FILE", .at = offsetof(Type, field.log), .group = "Talking", \
        .help = "also append everything, with the time, to FILE"                                                  \
    }

int talk_begin(const TalkOptions *options);
void talk_end(void);
/* One line for people; say_more from -v (level 1) or -vv (2) on. The log gets all of them. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_more(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The one sentence of a failure, or any line that -q does not silence. */
void say_always(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool talk_quiet(void);
/* A failure is one sentence. So what is said from talk_hold on waits for talk_release, which prints it, or forgets it
 * when the work failed. On a terminal, where somebody waits, and in the log lines are not held. */
void talk_hold(void);
void talk_release(bool print);

/* "1.2 GiB" into a ring of static texts, eight calls deep. */
const char *show_bytes(double bytes);
/* A file name made printable, in the same kind of ring. */
const char *show_path(const char *path);
#endif
