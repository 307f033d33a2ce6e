#include "data/process.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TAIL = 4096, /* bytes of standard error kept */
    WORDS = PROCESS_WORDS,
    SLICE_MS = 200,     /* between two looks at `stopped` */
    PIPE_SIZE = 1 << 20 /* asked of the system: fewer switches between us and the child for the same bytes */
};

struct Process {
    pid_t pid;
    int pipe, errors; /* -1: closed */
    double patience;
    bool (*stopped)(void);
    char name[PROCESS_NAME];
    char tail[TAIL]; /* ring */
    size_t said;     /* bytes of standard error so far */
    char words[WORDS];
};

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static bool runnable(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The whole path is found before forking, because between fork and exec hardly anything may be called. */
static int find_program(const char *name, char *path, size_t size) {
    char shown[300];
    if (strchr(name, '/')) {
        if ((size_t)snprintf(path, size, "%s", name) < size && runnable(path)) return 0;
        return fail(ERR_TOOL, "%s: is not a program that can be run; correct PANUM_FFMPEG",
                    err_printable(shown, sizeof shown, name));
    }
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t n = strcspn(at, ":");
        if (n && (size_t)snprintf(path, size, "%.*s/%s", (int)n, at, name) < size && runnable(path)) return 0;
        at += n + (at[n] == ':');
    }
    return fail(ERR_TOOL, "%s not found in PATH; install ffmpeg (Debian: apt install ffmpeg) or set PANUM_FFMPEG",
                err_printable(shown, sizeof shown, name));
}

/* In the child: only calls that are safe after fork in a program with threads. */
static void become(const char *path, char *const *arguments, int in, int out, int errors, int report, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (getppid() == parent && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(errors, 2) >= 0) execv(path, arguments);
    int e = errno;
    ssize_t told = write(report, &e, sizeof e);
    _exit(told == sizeof e ? 127 : 126);
}

/* Descriptors above 2, so that dup2 in the child never meets one it has already replaced. */
static int high_fd(int fd) {
    if (fd > 2 || fd < 0) return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return moved;
}

static int make_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    ends[0] = high_fd(ends[0]);
    ends[1] = high_fd(ends[1]);
    return ends[0] < 0 || ends[1] < 0 ? -1 : 0;
}

int process_start(const char *const *arguments, const ProcessOptions *options, Process **result) {
    char path[4096];
    *result = NULL;
    int rc = find_program(arguments[0], path, sizeof path);
    if (rc) return rc;
    Process *p = mem_zero(1, sizeof *p);
    if (!p) return ERR_MEMORY;
    const char *slash = strrchr(arguments[0], '/');
    err_printable(p->name, sizeof p->name, slash ? slash + 1 : arguments[0]);
    p->patience = options->patience > 0 ? options->patience : PROCESS_PATIENCE;
    p->stopped = options->stopped;
    int data[2] = {-1, -1}, errors[2] = {-1, -1}, report[2] = {-1, -1},
        nothing = high_fd(open("/dev/null", O_RDWR | O_CLOEXEC));
    bool reads = options->pipe != PROCESS_INPUT;
    p->pid = -1;
    pid_t parent = getpid();
    if (nothing >= 0 && make_pipe(data) == 0 && make_pipe(errors) == 0 && make_pipe(report) == 0) p->pid = fork();
    if (p->pid == 0) {
        union {
            const char *const *from;
            char *const *to;
        } list = {arguments}; /* execv takes them without const and leaves them alone */
        become(path, list.to, reads ? nothing : data[0], reads ? data[1] : nothing,
               options->pipe == PROCESS_TALK ? data[1] : errors[1], report[1], parent);
    }
    int e = errno, exec_error = 0;
    close_fd(&report[1]);
    close_fd(&errors[1]);
    close_fd(&data[reads ? 1 : 0]);
    if (p->pid > 0) {
        ssize_t n;
        do n = read(report[0], &exec_error, sizeof exec_error);
        while (n < 0 && errno == EINTR);
        if (n == sizeof exec_error) {
            while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {}
            rc = fail(ERR_TOOL, "%s cannot be started: %s", p->name, strerror(exec_error));
        }
    } else {
        rc = fail(e == ENOMEM || e == EAGAIN ? ERR_MEMORY : ERR_TOOL, "%s cannot be started: %s", p->name, strerror(e));
    }
    close_fd(&report[0]);
    close_fd(&nothing);
    p->pipe = data[reads ? 0 : 1];
    p->errors = errors[0];
    if (rc) {
        close_fd(&p->pipe);
        close_fd(&p->errors);
        mem_free(p);
        return rc;
    }
    fcntl(p->pipe, F_SETFL, fcntl(p->pipe, F_GETFL) | O_NONBLOCK);
    fcntl(p->errors, F_SETFL, fcntl(p->errors, F_GETFL) | O_NONBLOCK);
    fcntl(p->pipe, F_SETPIPE_SZ, PIPE_SIZE); /* may be refused; then it works as it is */
    *result = p;
    return 0;
}

/* Takes what standard error holds now. */
static void drain_errors(Process *p) {
    char bytes[4096];
    while (p->errors >= 0) {
        ssize_t n = read(p->errors, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return; /* nothing more for now */
        if (n == 0) {
            close_fd(&p->errors);
            return;
        }
        for (ssize_t i = 0; i < n; i++) p->tail[p->said++ % TAIL] = bytes[i];
    }
}

/* ffmpeg begins lines with which of its parts speaks and where that lies in its memory, "[mov @ 0x55d2b1a0] ": the
 * length of that, for there is nothing in it for people. */
static size_t speaker(const char *line) {
    size_t end = strcspn(line, "]\n"), at = 0;
    if (line[0] != '[' || line[end] != ']' || line[end + 1] != ' ') return 0;
    for (size_t i = 0; i + 5 < end && !at; i++)
        if (memcmp(line + i, " @ 0x", 5) == 0) at = i + 5;
    return at && strspn(line + at, "0123456789abcdef") == end - at ? end + 2 : 0;
}

const char *process_last_words(Process *p) {
    drain_errors(p);
    size_t n = p->said < TAIL ? p->said : TAIL, used = 0;
    char text[WORDS / 2];
    /* back from the end, as many bytes as fit a sentence; a first line that is cut is dropped */
    size_t keep = n < sizeof text - 1 ? n : sizeof text - 1;
    bool cut = keep < n;
    for (size_t i = 0; i < keep; i++) {
        char c = p->tail[(p->said - keep + i) % TAIL];
        if (c == 0) c = ' ';
        text[used++] = c == '\r' ? '\n' : c;
    }
    text[used] = 0;
    char *start = text, *first_end = strchr(text, '\n');
    if (cut && first_end && first_end[1]) start = first_end + 1;
    size_t out = 0, before = 0; /* `before`: where the line before begins in `joined` */
    char joined[WORDS];
    for (char *line = start; *line;) {
        size_t whole = strcspn(line, "\n"), mark = speaker(line), length = whole - mark;
        const char *words_of = line + mark;
        bool again = out > before && out - before == length && memcmp(joined + before, words_of, length) == 0;
        if (length && !again && out + length + 4 < sizeof joined) {
            out += (size_t)snprintf(joined + out, sizeof joined - out, "%s", out ? " | " : "");
            before = out;
            out += (size_t)snprintf(joined + out, sizeof joined - out, "%.*s", (int)length, words_of);
        }
        line += whole + (line[whole] == '\n');
    }
    joined[out] = 0;
    return err_printable(p->words, sizeof p->words, joined);
}

static int fail_hung(Process *p, const char *doing) {
    const char *words = process_last_words(p);
    return fail(ERR_TOOL, "%s has %s nothing for %.0f seconds%s%s; is the disk or the network asleep?", p->name, doing,
                p->patience, *words ? "; its last lines: " : "", words);
}

/* Waits until the pipe can be read or written (or its other end is gone). */
static int wait_ready(Process *p, short events, double *last) {
    struct pollfd fds[2] = {{.fd = p->pipe, .events = events}, {.fd = p->errors, .events = POLLIN}};
    int n = poll(fds, 2, SLICE_MS);
    if (n > 0 && fds[1].revents) drain_errors(p);
    if (p->stopped && p->stopped()) return fail(ERR_STOPPED, "interrupted while waiting for %s", p->name);
    if (n > 0 && fds[0].revents) return 0;
    if (clock_seconds() - *last > p->patience) return fail_hung(p, events == POLLIN ? "given" : "taken");
    return 0;
}

int process_read(Process *p, void *bytes, size_t want, size_t *got) {
    uint8_t *to = bytes;
    double last = clock_seconds();
    *got = 0;
    while (*got < want && p->pipe >= 0) {
        ssize_t n = read(p->pipe, to + *got, want - *got);
        if (n > 0) {
            *got += (size_t)n;
            last = clock_seconds();
        } else if (n == 0) {
            break;
        } else if (errno == EAGAIN) {
            int rc = wait_ready(p, POLLIN, &last);
            if (rc) return rc;
        } else if (errno != EINTR) {
            return fail(ERR_TOOL, "reading from %s: %s", p->name, strerror(errno));
        }
    }
    return 0;
}

int process_write(Process *p, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    double last = clock_seconds();
    while (size) {
        /* SIGPIPE is ignored by the program (apps/lib/run.h) */
        ssize_t n = write(p->pipe, from, size);
        if (n > 0) {
            from += n;
            size -= (size_t)n;
            last = clock_seconds();
        } else if (n < 0 && errno == EAGAIN) {
            int rc = wait_ready(p, POLLOUT, &last);
            if (rc) return rc;
        } else if (n < 0 && errno != EINTR) {
            int e = errno;
            if (e == EPIPE) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* for its last words */
            const char *words = process_last_words(p);
            return fail(ERR_TOOL, "%s takes no more pictures (%s)%s%s", p->name, strerror(e),
                        *words ? "; its last lines: " : "", words);
        }
    }
    return 0;
}

static void drop(Process **process) {
    close_fd(&(*process)->pipe);
    close_fd(&(*process)->errors);
    mem_free(*process);
    *process = NULL;
}

void process_kill(Process **process) {
    if (!*process) return;
    kill(-(*process)->pid, SIGKILL); /* with what it may have started */
    kill((*process)->pid, SIGKILL);
    while (waitpid((*process)->pid, NULL, 0) < 0 && errno == EINTR) {}
    drop(process);
}

int process_end(Process **process, ProcessEnd *end) {
    Process *p = *process;
    *end = (ProcessEnd){0};
    if (!p) return 0;
    close_fd(&p->pipe);
    int status = 0;
    double began = clock_seconds();
    for (int ms = 1;; ms = ms < SLICE_MS ? 2 * ms : SLICE_MS) {
        drain_errors(p);
        pid_t ended = waitpid(p->pid, &status, WNOHANG);
        if (ended == p->pid) break;
        if (ended < 0 && errno != EINTR) break;
        int rc = p->stopped && p->stopped() ? fail(ERR_STOPPED, "interrupted while waiting for %s", p->name) : 0;
        if (!rc && clock_seconds() - began > p->patience) rc = fail_hung(p, "finished");
        if (rc) {
            process_kill(process);
            return rc;
        }
        poll(&(struct pollfd){.fd = p->errors, .events = POLLIN}, p->errors >= 0, ms);
    }
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end->code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    snprintf(end->name, sizeof end->name, "%s", p->name);
    snprintf(end->words, sizeof end->words, "%s", process_last_words(p));
    drop(process);
    return 0;
}

int process_judge(const ProcessEnd *end) {
    const char *said = *end->words ? "; its last lines: " : "";
    if (end->signal) return fail(ERR_TOOL, "%s was killed by signal %d%s%s", end->name, end->signal, said, end->words);
    if (end->code) return fail(ERR_TOOL, "%s failed with exit code %d%s%s", end->name, end->code, said, end->words);
    return 0;
}

int process_finish(Process **process) {
    ProcessEnd end;
    int rc = process_end(process, &end);
    return rc ? rc : process_judge(&end);
}
