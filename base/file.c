/* base/file.c - see file.h for what is promised.
 *
 * Left out on purpose: locks against two writers of one path (the part file's own flock does that for the time it is
 * written), and any retry of a failed fsync: after a failure the kernel may already have dropped the dirty pages. */
#include "base/file.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SHOWN = 300,            /* bytes of a name in a sentence */
    OUT_BUFFER = 256 << 10, /* large enough that system calls cost nothing beside the copy */
    LINKS_MAX = 40,         /* as Linux follows */
    FIFO_WAIT_MS = 10000,   /* for somebody to open the other end of a FIFO we write to */
    GUARD_SLOTS = 1024,     /* maps under the SIGBUS guard at one time; more are read into memory */
};

static const char *show(char out[SHOWN], const char *path) {
    return err_printable(out, SHOWN, path);
}

/* ---------------------------------------------------------------------------------------------------- reading */

/* Opens a regular file. O_NONBLOCK so that a FIFO without writer returns at once (and is then refused). */
static int open_regular(const char *path, int *fd_out, struct stat *st) {
    char name[SHOWN];
    int fd;
    do fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        if (errno == ENOENT) return fail(ERR_INPUT, "%s: there is no such file", show(name, path));
        if (errno == ELOOP)
            return fail(ERR_INPUT, "%s: symbolic links go round in a circle (%s)", show(name, path), strerror(errno));
        if (errno == ENXIO)
            return fail(ERR_INPUT, "%s: is a socket or a device without a driver, not a file", show(name, path));
        return fail(ERR_INPUT, "%s: cannot be opened: %s", show(name, path), strerror(errno));
    }
    if (fstat(fd, st) != 0) {
        int e = errno;
        close(fd);
        return fail(ERR_INPUT, "%s: cannot be examined: %s", show(name, path), strerror(e));
    }
    if (!S_ISREG(st->st_mode)) {
        close(fd);
        const char *what = S_ISDIR(st->st_mode)    ? "is a folder, not a file"
                           : S_ISFIFO(st->st_mode) ? "is a pipe, not a regular file; save it to a file first"
                           : S_ISCHR(st->st_mode)  ? "is a device, not a regular file"
                           : S_ISBLK(st->st_mode)  ? "is a disk, not a regular file"
                                                   : "is not a regular file";
        return fail(ERR_INPUT, "%s: %s", show(name, path), what);
    }
    *fd_out = fd;
    return 0;
}

/* Reads exactly `size` bytes from the start; a shorter or longer file has changed since fstat. */
static int read_whole(int fd, const char *path, uint8_t *bytes, size_t size) {
    char name[SHOWN];
    size_t have = 0;
    while (have < size) {
        size_t want = size - have < (1u << 30) ? size - have : 1u << 30;
        ssize_t n = read(fd, bytes + have, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return fail(ERR_INPUT, "%s: cannot be read at byte %zu: %s", show(name, path), have, strerror(errno));
        if (n == 0)
            return fail(ERR_INPUT,
                        "%s: changed while being read: had %zu bytes, now ends at %zu; try again when it is written",
                        show(name, path), size, have);
        have += (size_t)n;
    }
    return 0;
}

int file_read(const char *path, size_t limit, uint8_t **bytes, size_t *size) {
    char name[SHOWN];
    struct stat st;
    int fd;
    *bytes = NULL;
    *size = 0;
    int error = open_regular(path, &fd, &st);
    if (error) return error;
    if ((uint64_t)st.st_size > limit) {
        close(fd);
        return fail(ERR_INPUT, "%s: has %llu bytes, the limit for such a file is %zu", show(name, path),
                    (unsigned long long)st.st_size, limit);
    }
    size_t n = (size_t)st.st_size;
    uint8_t *block = mem_alloc(n);
    if (!block)
        error = fail_prefix("%s", show(name, path));
    else
        error = read_whole(fd, path, block, n);
    close(fd);
    if (error) {
        mem_free(block);
        return error;
    }
    *bytes = block;
    *size = n;
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- mapping
 *
 * A mapped file that another program truncates gives SIGBUS on touching what is gone. The handler looks the address up
 * in a table of our maps; if it is ours, a page of zeros is put there and the map is marked torn, so the reader goes on
 * with zeros and file_map_check reports it. Anything else goes to whoever handled SIGBUS before us. */

struct FileMap {
    uint8_t *bytes;
    size_t size;
    int fd;   /* kept for file_map_check */
    int slot; /* in the guard table, -1: the bytes are a copy in memory */
    struct stat st;
    char *name;
};

static struct {
    _Atomic uintptr_t start; /* 0: free */
    _Atomic size_t bytes;
    _Atomic int torn;
} guard[GUARD_SLOTS];
static struct sigaction bus_before;
static pthread_once_t bus_once = PTHREAD_ONCE_INIT;
static uintptr_t page_size;

static void on_bus(int sig, siginfo_t *info, void *context) {
    int saved = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; i < GUARD_SLOTS; i++) {
        uintptr_t start = atomic_load(&guard[i].start);
        if (start == 0 || at < start || at - start >= atomic_load(&guard[i].bytes)) continue;
        void *page = (void *)(at & ~(page_size - 1));
        if (mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
        atomic_store(&guard[i].torn, 1);
        errno = saved;
        return;
    }
    if (bus_before.sa_flags & SA_SIGINFO) {
        bus_before.sa_sigaction(sig, info, context);
    } else if (bus_before.sa_handler != SIG_DFL && bus_before.sa_handler != SIG_IGN) {
        bus_before.sa_handler(sig);
    } else {
        signal(SIGBUS, SIG_DFL); /* returning repeats the access, which now ends the process */
    }
    errno = saved;
}

static void install_bus_guard(void) {
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &bus_before);
}

static int guard_take(void *start, size_t bytes) {
    for (int i = 0; i < GUARD_SLOTS; i++) {
        uintptr_t free_slot = 0;
        /* A start of 1 reserves the slot: no address of ours is below the first page. */
        if (!atomic_compare_exchange_strong(&guard[i].start, &free_slot, 1)) continue;
        atomic_store(&guard[i].torn, 0);
        atomic_store(&guard[i].bytes, 0);
        atomic_store(&guard[i].start, (uintptr_t)start);
        atomic_store(&guard[i].bytes, bytes);
        return i;
    }
    return -1;
}

int file_map(const char *path, FileMap **out) {
    char name[SHOWN];
    struct stat st;
    int fd;
    *out = NULL;
    int error = open_regular(path, &fd, &st);
    if (error) return error;
    FileMap *map = mem_zero(1, sizeof *map);
    char *copy = map ? mem_text(path) : NULL;
    if (!copy) {
        mem_free(map);
        close(fd);
        return err_code();
    }
    *map = (FileMap){.fd = fd, .slot = -1, .st = st, .name = copy, .size = (size_t)st.st_size};
    if (map->size) {
        pthread_once(&bus_once, install_bus_guard);
        void *p = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) {
            /* up to the end of the last page: that is what one fault can replace */
            map->slot = guard_take(p, (map->size + page_size - 1) & ~(page_size - 1));
            if (map->slot >= 0)
                map->bytes = p;
            else
                munmap(p, map->size);
        }
    }
    if (!map->bytes) { /* empty, a file system without mmap, or no slot left: a copy in memory serves as well */
        map->bytes = mem_alloc(map->size);
        error = map->bytes ? read_whole(fd, path, map->bytes, map->size) : fail_prefix("%s", show(name, path));
        if (error) {
            file_unmap(map);
            return error;
        }
    }
    *out = map;
    return 0;
}

const uint8_t *file_map_bytes(const FileMap *map) {
    return map->bytes;
}

size_t file_map_size(const FileMap *map) {
    return map->size;
}

int file_map_check(const FileMap *map) {
    char name[SHOWN];
    struct stat st;
    bool torn = map->slot >= 0 && atomic_load(&guard[map->slot].torn);
    if (fstat(map->fd, &st) != 0)
        return fail(ERR_INPUT, "%s: cannot be examined any more: %s", show(name, map->name), strerror(errno));
    if (torn || st.st_size != map->st.st_size || st.st_mtim.tv_sec != map->st.st_mtim.tv_sec ||
        st.st_mtim.tv_nsec != map->st.st_mtim.tv_nsec)
        return fail(ERR_INPUT,
                    "%s: changed while being read: had %lld bytes, now has %lld; try again when it is written",
                    show(name, map->name), (long long)map->st.st_size, (long long)st.st_size);
    return 0;
}

void file_unmap(FileMap *map) {
    if (!map) return;
    if (map->slot >= 0) {
        atomic_store(&guard[map->slot].bytes, 0);
        munmap(map->bytes, map->size);
        atomic_store(&guard[map->slot].start, 0);
    } else {
        mem_free(map->bytes);
    }
    close(map->fd);
    mem_free(map->name);
    mem_free(map);
}

/* ---------------------------------------------------------------------------------------------------- writing */

typedef enum { TO_FILE, TO_PLACE, TO_STDOUT, TO_MEMORY } OutKind;

struct Out {
    OutKind kind;
    OutMode mode;
    int fd;
    char *final; /* what appears on commit, links already followed */
    char *part;
    char *name;    /* as the caller gave it, for sentences */
    uint8_t *kept; /* TO_MEMORY: `written` bytes */
    size_t room;
    uint64_t written;
    size_t used;
    int error; /* sticky */
    char sentence[512];
    uint8_t buffer[OUT_BUFFER];
};

/* A write beyond RLIMIT_FSIZE shall be an error (EFBIG), not a signal. */
static void ignore_file_size_signal(void) {
    struct sigaction old;
    if (sigaction(SIGXFSZ, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
        signal(SIGXFSZ, SIG_IGN);
}

/* Follows symbolic links by hand, since the last target need not exist yet. */
static int follow_links(const char *path, char final[PATH_MAX]) {
    char name[SHOWN];
    if (strlen(path) >= PATH_MAX)
        return fail(ERR_USAGE, "%s: the path is longer than %d bytes", show(name, path), PATH_MAX - 1);
    strcpy(final, path);
    for (int hop = 0; hop < LINKS_MAX; hop++) {
        char target[PATH_MAX];
        ssize_t n = readlink(final, target, sizeof target - 1);
        if (n < 0) return 0; /* not a link, or not there: whatever is wrong shows when it is opened */
        target[n] = 0;
        const char *slash = strrchr(final, '/');
        size_t folder = target[0] == '/' || !slash ? 0 : (size_t)(slash - final) + 1;
        if (folder + (size_t)n >= PATH_MAX)
            return fail(ERR_USAGE, "%s: the link leads to a path longer than %d bytes", show(name, path), PATH_MAX - 1);
        memmove(final + folder, target, (size_t)n + 1);
    }
    return fail(ERR_USAGE, "%s: symbolic links go round in a circle", show(name, path));
}

/* The folder a path lies in; "." when it names none. */
static void folder_of(const char *path, char folder[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        strcpy(folder, ".");
    else if (slash == path)
        strcpy(folder, "/");
    else
        snprintf(folder, PATH_MAX, "%.*s", (int)(slash - path), path);
}

/* The last folder on the way that is there, and the way on from it, without "." and double slashes. */
static bool place_of(const char *path, struct stat *folder, char rest[PATH_MAX]) {
    char at[PATH_MAX];
    if (follow_links(path, at)) return false;
    rest[0] = 0;
    for (;;) {
        char above[PATH_MAX], joined[PATH_MAX];
        size_t n = strlen(at);
        while (n > 1 && at[n - 1] == '/') at[--n] = 0;
        const char *slash = strrchr(at, '/'), *name = slash ? slash + 1 : at;
        if (strcmp(name, ".") != 0) {
            if ((size_t)snprintf(joined, sizeof joined, "%s%s%s", name, *rest ? "/" : "", rest) >= sizeof joined)
                return false;
            strcpy(rest, joined);
        }
        folder_of(at, above);
        if (stat(above, folder) == 0) return true;
        if (strcmp(above, at) == 0) return false;
        strcpy(at, above);
    }
}

bool out_same(const char *a, const char *b) {
    struct stat folder_a, folder_b;
    char rest_a[PATH_MAX], rest_b[PATH_MAX];
    if (strcmp(a, b) == 0) return true;
    if (!place_of(a, &folder_a, rest_a) || !place_of(b, &folder_b, rest_b)) return false;
    return folder_a.st_dev == folder_b.st_dev && folder_a.st_ino == folder_b.st_ino && strcmp(rest_a, rest_b) == 0;
}

static int check_folder(const char *path, const char *final) {
    char name[SHOWN], folder[PATH_MAX], shown[SHOWN];
    struct stat st;
    const char *slash = strrchr(final, '/');
    if (slash && slash[1] == 0)
        return fail(ERR_USAGE, "%s: names a folder; give the name of a file in it", show(name, path));
    folder_of(final, folder);
    if (stat(folder, &st) != 0) {
        if (errno == ENOENT)
            return fail(ERR_USAGE, "%s: the folder %s does not exist; make it first", show(name, path),
                        show(shown, folder));
        return fail(ERR_USAGE, "%s: the folder %s cannot be used: %s", show(name, path), show(shown, folder),
                    strerror(errno));
    }
    if (!S_ISDIR(st.st_mode))
        return fail(ERR_USAGE, "%s: %s is a file, not a folder", show(name, path), show(shown, folder));
    if (access(folder, W_OK | X_OK) != 0)
        return fail(ERR_USAGE, "%s: nothing can be written in %s: %s", show(name, path), show(shown, folder),
                    strerror(errno));
    return 0;
}

/* /dev/stdout, /dev/fd/3, /proc/self/fd/1: links of the system's that may lead to a regular file somebody has opened. A
 * file in /dev/shm is one like any other. */
static bool is_opened_elsewhere(const char *path) {
    struct stat st;
    if (strncmp(path, "/dev/shm/", 9) == 0) return false;
    return (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0) && lstat(path, &st) == 0 &&
           S_ISLNK(st.st_mode);
}

/* What kind of target is this, and may it be written? */
static int examine(const char *path, OutMode mode, OutKind *kind, char final[PATH_MAX], mode_t *permissions) {
    char name[SHOWN];
    struct stat st;
    *permissions = 0;
    *kind = TO_FILE;
    if (strcmp(path, "-") == 0) {
        *kind = TO_STDOUT;
        return 0;
    }
    if (!*path) return fail(ERR_USAGE, "the name of an output file is empty");
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return fail(ERR_USAGE, "%s: is a folder, not a file that can be written", show(name, path));
        /* devices, pipes, and what is open already are written where they are */
        if (!S_ISREG(st.st_mode) || is_opened_elsewhere(path)) {
            if (access(path, W_OK) != 0)
                return fail(ERR_USAGE, "%s: cannot be written: %s", show(name, path), strerror(errno));
            *kind = TO_PLACE;
            return 0;
        }
        if (mode == OUT_NEW) return fail(ERR_USAGE, "%s: exists already; add -y to replace it", show(name, path));
        *permissions = st.st_mode & 0777;
    } else if (errno != ENOENT) {
        return fail(ERR_USAGE, "%s: cannot be written: %s", show(name, path), strerror(errno));
    }
    int error = follow_links(path, final);
    return error ? error : check_folder(path, final);
}

int out_check(const char *path, OutMode mode) {
    char final[PATH_MAX];
    OutKind kind;
    mode_t permissions;
    return examine(path, mode, &kind, final, &permissions);
}

static void free_out(Out *out) {
    mem_free(out->kept);
    mem_free(out->final);
    mem_free(out->part);
    mem_free(out->name);
    mem_free(out);
}

/* "NAME.part.PID.panum". A name near the limit of 255 bytes is cut, with a hash so that two of them stay apart. */
static int part_name(const char *final, char part[PATH_MAX]) {
    const char *slash = strrchr(final, '/');
    int folder = slash ? (int)(slash - final) + 1 : 0;
    const char *base = final + folder;
    char shown[SHOWN];
    int n;
    if (strlen(base) <= 220)
        n = snprintf(part, PATH_MAX, "%s.part.%ld.panum", final, (long)getpid());
    else
        n = snprintf(part, PATH_MAX, "%.*s%.180s-%016llx.part.%ld.panum", folder, final, base,
                     (unsigned long long)fnv1a64(base, strlen(base)), (long)getpid());
    return n > 0 && n < PATH_MAX ? 0 : fail(ERR_USAGE, "%s: the path is too long", show(shown, final));
}

static int open_part(Out *out, mode_t permissions) {
    char name[SHOWN];
    for (int attempt = 0; attempt < 2; attempt++) {
        int fd = open(out->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0) {
            flock(fd, LOCK_EX | LOCK_NB); /* tells out_sweep of other machines that we live; not all file systems can */
            if (permissions && fchmod(fd, permissions) != 0) { /* the old file's mode is a courtesy, not a condition */
            }
            out->fd = fd;
            return 0;
        }
        if (errno != EEXIST) break;
        /* A left-over of an earlier process with our number is stale; one that is locked is another Out of ours. */
        fd = open(out->part, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        bool busy = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
        if (fd >= 0) close(fd);
        if (busy)
            return fail(ERR_USAGE, "%s: is being written already by this run; name it only once",
                        show(name, out->name));
        unlink(out->part);
    }
    ErrCode code = errno == ENOSPC || errno == EDQUOT ? ERR_MEMORY : ERR_USAGE;
    return fail(code, "%s: cannot be created: %s", show(name, out->name), strerror(errno));
}

/* A FIFO is given some time to find its reader; then, and for devices at once, writing blocks as usual. */
static int open_place(Out *out) {
    char name[SHOWN];
    for (int waited = 0;; waited += 20) {
        out->fd = open(out->name, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (out->fd >= 0) break;
        if (errno == ENXIO && waited < FIFO_WAIT_MS) {
            struct timespec pause = {0, 20000000};
            nanosleep(&pause, NULL);
        } else if (errno == ENXIO) {
            return fail(ERR_USAGE, "%s: nobody opened the other end of this pipe within %d s", show(name, out->name),
                        FIFO_WAIT_MS / 1000);
        } else if (errno != EINTR) {
            return fail(ERR_USAGE, "%s: cannot be opened for writing: %s", show(name, out->name), strerror(errno));
        }
    }
    int flags = fcntl(out->fd, F_GETFL);
    if (flags >= 0) fcntl(out->fd, F_SETFL, flags & ~O_NONBLOCK);
    return 0;
}

int out_open(const char *path, OutMode mode, Out **result) {
    char final[PATH_MAX] = "", part[PATH_MAX] = "";
    OutKind kind;
    mode_t permissions;
    *result = NULL;
    int error = examine(path, mode, &kind, final, &permissions);
    if (!error && kind == TO_FILE) error = part_name(final, part);
    if (error) return error;
    Out *out = mem_alloc(sizeof *out);
    if (!out) return err_code();
    memset(out, 0, offsetof(Out, buffer));
    out->kind = kind;
    out->mode = mode;
    out->fd = STDOUT_FILENO;
    out->name = mem_text(path);
    out->final = mem_text(final);
    out->part = mem_text(part);
    if (!out->name || !out->final || !out->part) {
        free_out(out);
        return err_code();
    }
    ignore_file_size_signal();
    error = kind == TO_FILE ? open_part(out, permissions) : kind == TO_PLACE ? open_place(out) : 0;
    if (error) {
        free_out(out);
        return error;
    }
    *result = out;
    return 0;
}

static int fail_write(Out *out, int e, const char *doing) {
    char name[SHOWN], amount[32];
    const char *whole = out->kind == TO_FILE ? "; nothing was replaced" : "";
    double mega = (double)out->written / 1e6;
    if (out->written < 100000)
        snprintf(amount, sizeof amount, "%llu bytes", (unsigned long long)out->written);
    else
        snprintf(amount, sizeof amount, mega < 1000 ? "%.1f MB" : "%.0f MB", mega);
    show(name, out->kind == TO_STDOUT ? "standard output" : out->name);
    if (e == ENOSPC || e == EDQUOT)
        out->error = fail(ERR_MEMORY, "%s: disk full after %s; nothing was replaced; free some space and run again",
                          name, amount);
    else if (e == EFBIG)
        out->error = fail(ERR_MEMORY, "%s: larger than files may be here, after %s%s", name, amount, whole);
    else if (e == EPIPE)
        out->error = fail(ERR_FAILED, "%s: output closed by its reader after %s", name, amount);
    else
        out->error = fail(ERR_FAILED, "%s: %s failed after %s: %s%s", name, doing, amount, strerror(e), whole);
    snprintf(out->sentence, sizeof out->sentence, "%s", err_sentence());
    return out->error;
}

/* write(2) without SIGPIPE: blocked in this thread, and taken off the queue if our write raised it. */
static ssize_t write_quietly(int fd, const uint8_t *data, size_t bytes) {
    sigset_t pipe_set, before, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    ssize_t n = write(fd, data, bytes);
    int e = errno;
    if (n < 0 && e == EPIPE && !was_pending) {
        struct timespec none = {0, 0};
        while (sigtimedwait(&pipe_set, NULL, &none) < 0 && errno == EINTR) {}
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = e;
    return n;
}

static int keep(Out *out, const uint8_t *data, size_t bytes) {
    size_t need, used = (size_t)out->written;
    if (!size_add(used, bytes, &need)) need = SIZE_MAX; /* which mem_grow refuses */
    if (need > out->room) {
        size_t room = need < SIZE_MAX / 2 ? need + need / 2 : need;
        uint8_t *grown = mem_grow(out->kept, room);
        if (!grown) {
            snprintf(out->sentence, sizeof out->sentence, "%s", err_sentence());
            return out->error = (int)err_code();
        }
        out->kept = grown;
        out->room = room;
    }
    if (bytes) memcpy(out->kept + used, data, bytes);
    out->written += bytes;
    return 0;
}

static int put(Out *out, const uint8_t *data, size_t bytes) {
    if (out->kind == TO_MEMORY) return keep(out, data, bytes);
    while (bytes > 0) {
        size_t piece = bytes < (1u << 30) ? bytes : 1u << 30;
        ssize_t n = out->kind == TO_FILE ? write(out->fd, data, piece) : write_quietly(out->fd, data, piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) { /* standard output may be a non-blocking pipe */
            struct pollfd wait = {.fd = out->fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
            continue;
        }
        if (n < 0) return fail_write(out, errno, "writing");
        if (n == 0) return fail_write(out, ENOSPC, "writing");
        out->written += (uint64_t)n;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int flush(Out *out) {
    int error = put(out, out->buffer, out->used);
    out->used = 0;
    return error;
}

int out_write(Out *out, const void *data, size_t bytes) {
    if (out->error) return fail((ErrCode)out->error, "%s", out->sentence);
    if (bytes > OUT_BUFFER - out->used) {
        int error = flush(out);
        if (error) return error;
        if (bytes >= OUT_BUFFER) return put(out, data, bytes);
    }
    if (bytes) memcpy(out->buffer + out->used, data, bytes);
    out->used += bytes;
    return 0;
}

int out_print(Out *out, const char *format, ...) {
    char small[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) return fail(ERR_FAILED, "text cannot be formatted");
    if ((size_t)n < sizeof small) return out_write(out, small, (size_t)n);
    char *large = mem_alloc((size_t)n + 1);
    if (!large) {
        snprintf(out->sentence, sizeof out->sentence, "%s", err_sentence());
        return out->error = (int)err_code();
    }
    va_start(args, format);
    vsnprintf(large, (size_t)n + 1, format, args);
    va_end(args);
    int error = out_write(out, large, (size_t)n);
    mem_free(large);
    return error;
}

/* The new name is durable only when the folder's entry is. Some file systems cannot sync a folder: not our failure. */
static int sync_folder(Out *out) {
    char folder[PATH_MAX];
    folder_of(out->final, folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0;
    int result = fsync(fd), e = errno;
    close(fd);
    if (result == 0 || e == EINVAL || e == ENOTSUP || e == EROFS) return 0;
    char name[SHOWN];
    return out->error = fail(ERR_FAILED, "%s: is in place, but its folder could not be made durable: %s",
                             show(name, out->name), strerror(e));
}

/* OUT_NEW must not replace what appeared since out_open. */
static int rename_to_final(Out *out) {
    char name[SHOWN];
    if (out->mode == OUT_OVERWRITE) return rename(out->part, out->final) == 0 ? 0 : fail_write(out, errno, "renaming");
    if (renameat2(AT_FDCWD, out->part, AT_FDCWD, out->final, RENAME_NOREPLACE) == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS) { /* file systems without the flag: link refuses an existing name too */
        if (link(out->part, out->final) == 0) {
            unlink(out->part);
            return 0;
        }
        if (errno != EEXIST) { /* nor hard links (FAT): look, then rename */
            if (access(out->final, F_OK) != 0)
                return rename(out->part, out->final) == 0 ? 0 : fail_write(out, errno, "renaming");
            errno = EEXIST;
        }
    }
    if (errno != EEXIST) return fail_write(out, errno, "renaming");
    return out->error =
               fail(ERR_USAGE, "%s: appeared while it was being written and was not replaced; add -y, or another name",
                    show(name, out->name));
}

int out_memory(Out **result) {
    *result = NULL;
    Out *out = mem_alloc(sizeof *out);
    if (!out) return err_code();
    memset(out, 0, offsetof(Out, buffer));
    out->kind = TO_MEMORY;
    out->fd = -1;
    *result = out;
    return 0;
}

int out_memory_take(Out **handle, uint8_t **bytes, size_t *size) {
    Out *out = *handle;
    *handle = NULL;
    *bytes = NULL;
    *size = 0;
    int error = out->error ? fail((ErrCode)out->error, "%s", out->sentence) : flush(out);
    if (!error && !out->kept && !(out->kept = mem_alloc(0))) error = (int)err_code();
    if (!error) {
        *bytes = out->kept;
        *size = (size_t)out->written;
        out->kept = NULL;
    }
    free_out(out);
    return error;
}

int out_commit(Out **handle) {
    Out *out = *handle;
    *handle = NULL;
    int error = out->error ? fail((ErrCode)out->error, "%s", out->sentence) : flush(out);
    if (out->kind == TO_FILE) {
        if (!error && fsync(out->fd) != 0 && errno != EINVAL && errno != ENOTSUP)
            error = fail_write(out, errno, "fsync");
        if (close(out->fd) != 0 && !error) error = fail_write(out, errno, "closing");
        if (!error) error = rename_to_final(out);
        if (error)
            unlink(out->part);
        else
            error = sync_folder(out);
    } else if (out->kind == TO_PLACE) {
        if (close(out->fd) != 0 && !error) error = fail_write(out, errno, "closing");
    }
    free_out(out);
    return error;
}

void out_abort(Out **handle) {
    Out *out = *handle;
    *handle = NULL;
    if (!out) return;
    if (out->kind == TO_FILE || out->kind == TO_PLACE) close(out->fd);
    if (out->kind == TO_FILE) unlink(out->part);
    free_out(out);
}

/* The process number in "NAME.part.PID.panum", or 0. */
static long part_owner(const char *name) {
    size_t n = strlen(name);
    if (n < 8 || strcmp(name + n - 6, ".panum") != 0) return 0;
    const char *digits = name + n - 6;
    while (digits > name && digits[-1] >= '0' && digits[-1] <= '9') digits--;
    if (digits == name + n - 6 || digits - name < 7 || memcmp(digits - 6, ".part.", 6) != 0) return 0;
    errno = 0;
    long pid = strtol(digits, NULL, 10);
    return errno || pid > INT_MAX ? 0 : pid;
}

void out_sweep(const char *folder) {
    DIR *list = opendir(folder);
    if (!list) return;
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        long pid = part_owner(entry->d_name);
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        int fd = openat(dirfd(list), entry->d_name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        struct stat st;
        /* The lock: the writer may live in another container or on another machine, where its number means nothing
         * here. */
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dirfd(list), entry->d_name, 0);
        close(fd);
    }
    closedir(list);
}
