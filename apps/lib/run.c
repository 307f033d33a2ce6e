#include "apps/lib/run.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stops;

static void on_stop(int sig) {
    (void)sig;
    int saved = errno;
    if (++stops > 1) _exit(ERR_STOPPED);
    static const char text[] = "\nstopping when this picture is done; once more stops at once\n";
    if (isatty(2) && write(2, text, sizeof text - 1) < 0) { /* nothing can be done about it here */
    }
    errno = saved;
}

void run_begin(void) {
    /* A descriptor that is closed at the start would be given to the next file opened, and messages would go into
     * somebody's result. Each is filled with one that cannot do what its number promises, so that use is an error. */
    static const int modes[3] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) < 0) _exit(ERR_FAILED);
    signal(SIGPIPE, SIG_IGN);
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction old;
        /* nohup and background shells ignore some of them on purpose */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN) continue;
        sigaction(signals[i], &action, NULL);
    }
}

bool run_stopped(void) {
    return stops > 0;
}

int run_stop(const char *what) {
    return fail(ERR_STOPPED, "interrupted; %s", what);
}

int run_finish_output(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    int e = errno;
    if (e == ENOSPC || e == EFBIG || e == EDQUOT) return fail(ERR_MEMORY, "standard output: %s", strerror(e));
    if (e == EPIPE || e == EBADF) return fail(ERR_FAILED, "standard output was closed before everything was written");
    return fail(ERR_FAILED, "standard output: %s", strerror(e));
}

/* ---- talking ---------------------------------------------------------------------------------------------------- */

static pthread_mutex_t talk_lock = PTHREAD_MUTEX_INITIALIZER;
static bool quiet;
static int verbosity;
static FILE *log_file;
static bool holding;
static char held[16384]; /* lines that wait; what does not fit is said at once, after them */
static size_t held_bytes;

int talk_begin(const TalkOptions *options) {
    quiet = options->quiet;
    verbosity = options->verbose;
    if (!options->log) return 0;
    int fd = open(options->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) log_file = fdopen(fd, "a");
    if (!log_file) {
        int e = errno;
        if (fd >= 0) close(fd);
        return fail(ERR_USAGE, "--log: %s cannot be written: %s", show_path(options->log), strerror(e));
    }
    setvbuf(log_file, NULL, _IOLBF, 4096);
    return 0;
}

void talk_end(void) {
    if (log_file) fclose(log_file); /* a log that cannot be finished does not make the work wrong */
    log_file = NULL;
}

bool talk_quiet(void) {
    return quiet;
}

static void print_held(void) {
    fwrite(held, 1, held_bytes, stderr);
    held_bytes = 0;
}

void talk_hold(void) {
    pthread_mutex_lock(&talk_lock);
    holding = !isatty(2);
    pthread_mutex_unlock(&talk_lock);
}

void talk_release(bool print) {
    pthread_mutex_lock(&talk_lock);
    if (print) print_held();
    held_bytes = 0;
    holding = false;
    pthread_mutex_unlock(&talk_lock);
}

static void print_line(const char *line) {
    size_t bytes = strlen(line) + 1; /* with its newline */
    if (holding && bytes <= sizeof held - held_bytes) {
        memcpy(held + held_bytes, line, bytes - 1);
        held[held_bytes + bytes - 1] = '\n';
        held_bytes += bytes;
        return;
    }
    print_held();
    fprintf(stderr, "%s\n", line);
}

static void speak(bool shown, const char *format, va_list args) {
    char line[4096];
    vsnprintf(line, sizeof line, format, args);
    pthread_mutex_lock(&talk_lock);
    if (shown) print_line(line);
    if (log_file) {
        struct timespec now;
        struct tm parts;
        char stamp[32];
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &parts);
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
        fprintf(log_file, "%s.%03ldZ %s\n", stamp, now.tv_nsec / 1000000, line);
    }
    pthread_mutex_unlock(&talk_lock);
}

void say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    speak(!quiet, format, args);
    va_end(args);
}

void say_more(int level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    speak(!quiet && verbosity >= level, format, args);
    va_end(args);
}

void say_always(const char *format, ...) {
    va_list args;
    va_start(args, format);
    speak(true, format, args);
    va_end(args);
}

enum { RING = 8 };

const char *show_bytes(double bytes) {
    static _Thread_local char ring[RING][32];
    static _Thread_local int turn;
    char *out = ring[turn++ % RING];
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) bytes /= 1024, unit++;
    snprintf(out, sizeof ring[0], unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

const char *show_path(const char *path) {
    static _Thread_local char ring[RING][512];
    static _Thread_local int turn;
    return err_printable(ring[turn++ % RING], sizeof ring[0], path);
}
