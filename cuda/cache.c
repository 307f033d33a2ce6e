#include "cuda/cache.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A file: this head, then the code. The format's number is in the magic and in the key. */
static const char magic[16] = "panum kernel 1\n";
typedef struct {
    char magic[16];
    uint8_t key[32], sum[32]; /* sum: SHA-256 of the code */
    uint64_t bytes;
} Head;
enum { CODE_MOST = 64 << 20 };

static void add_text(Sha256 *hash, const char *text) {
    sha256_add(hash, text, strlen(text) + 1);
}

CacheKey cache_key(const Nvrtc *nvrtc, const GpuSource *source, int arch, CompileCare care) {
    int major, minor;
    char numbers[160];
    uint8_t digest[32];
    CacheKey key = {.kind = CACHE_KERNEL};
    Sha256 hash;
    nvrtc_version(nvrtc, &major, &minor);
    NvrtcLibrary library = nvrtc_library(nvrtc);
    snprintf(numbers, sizeof numbers, "sm_%d care %d nvrtc %d.%d %lld bytes of %lld", arch, (int)care, major, minor,
             (long long)library.bytes, (long long)library.date);
    sha256_begin(&hash);
    sha256_add(&hash, magic, sizeof magic);
    add_text(&hash, numbers);
    add_text(&hash, nvrtc_options);
    add_text(&hash, source->define ? source->define : "");
    add_text(&hash, source->name);
    add_text(&hash, source->text);
    for (int i = 0; i < source->headers; i++) {
        add_text(&hash, source->header_name[i]);
        add_text(&hash, source->header_text[i]);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, key.hex);
    return key;
}

/* ---- the folder ---- */

static bool is_private(const struct stat *seen) {
    return seen->st_uid == geteuid() && !(seen->st_mode & (S_IWGRP | S_IWOTH));
}

bool cache_usable(const char *folder) {
    char path[PATH_MAX];
    struct stat seen;
    if (!folder || (size_t)snprintf(path, sizeof path, "%s", folder) >= sizeof path) return false;
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(path, 0700) && errno != EEXIST) return false;
        *p = '/';
    }
    if (mkdir(path, 0700) && errno != EEXIST) return false;
    return lstat(path, &seen) == 0 && S_ISDIR(seen.st_mode) && is_private(&seen);
}

static const char *const ends[] = {[CACHE_KERNEL] = "cubin", [CACHE_VERDICT] = "verdict"};

static bool path_of(char path[PATH_MAX], const char *folder, const CacheKey *key) {
    return (size_t)snprintf(path, PATH_MAX, "%s/%s.%s", folder, key->hex, ends[key->kind]) < PATH_MAX;
}

bool cache_has(const char *folder, const CacheKey *key) {
    char path[PATH_MAX];
    struct stat seen;
    return path_of(path, folder, key) && lstat(path, &seen) == 0 && S_ISREG(seen.st_mode) && is_private(&seen) &&
           seen.st_size > (off_t)sizeof(Head);
}

/* ---- files ---- */

static bool read_all(int file, void *to, size_t bytes) {
    for (char *at = to; bytes;) {
        ssize_t n = read(file, at, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static Head head_of(const CacheKey *key, const void *code, size_t bytes) {
    Head head = {.bytes = bytes};
    Sha256 hash;
    memcpy(head.magic, magic, sizeof magic);
    for (int i = 0; i < 32; i++) {
        unsigned byte = 0;
        sscanf(key->hex + 2 * (size_t)i, "%2x", &byte);
        head.key[i] = (uint8_t)byte;
    }
    sha256_begin(&hash);
    sha256_add(&hash, code, bytes);
    sha256_end(&hash, head.sum);
    return head;
}

static bool read_file(int file, const CacheKey *key, void **code, size_t *bytes) {
    struct stat seen;
    Head head;
    if (fstat(file, &seen) || !S_ISREG(seen.st_mode) || !is_private(&seen)) return false;
    if (!read_all(file, &head, sizeof head) || !head.bytes || head.bytes > CODE_MOST ||
        seen.st_size != (off_t)(sizeof head + head.bytes))
        return false;
    *bytes = (size_t)head.bytes;
    *code = mem_alloc(*bytes);
    if (*code && read_all(file, *code, *bytes)) {
        Head want = head_of(key, *code, *bytes);
        if (!memcmp(&want, &head, sizeof head)) return true;
    }
    mem_free(*code);
    *code = NULL;
    return false;
}

enum { DAY = 24 * 60 * 60 };
const CacheLimits cache_limits = {(int64_t)256 << 20, (int64_t)180 * DAY};

/* When it was last used is its date, renewed once a day. */
static void note_use(int file) {
    struct stat seen;
    if (fstat(file, &seen) == 0 && time(NULL) - seen.st_mtime > DAY) (void)futimens(file, NULL);
}

bool cache_read(const char *folder, const CacheKey *key, void **code, size_t *bytes) {
    char path[PATH_MAX];
    *code = NULL;
    *bytes = 0;
    if (!path_of(path, folder, key)) return false;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return false;
    bool good = read_file(file, key, code, bytes);
    if (good) note_use(file);
    close(file);
    return good;
}

void cache_write(const char *folder, const CacheKey *key, const void *code, size_t bytes) {
    char path[PATH_MAX];
    struct stat seen;
    Out *out;
    if (bytes > CODE_MOST || !path_of(path, folder, key)) return;
    if (lstat(path, &seen) == 0 && !S_ISREG(seen.st_mode)) return; /* a link would be followed */
    if (out_open(path, OUT_OVERWRITE, &out) == 0) {
        Head head = head_of(key, code, bytes);
        out_write(out, &head, sizeof head);
        out_write(out, code, bytes);
        (void)out_commit(&out);
    }
    if (chmod(path, 0600)) return;
}

/* ---- what stays ---- */

typedef struct {
    char name[80];
    int64_t bytes, used;
} CacheFile;

/* 64 hexadecimal digits and one of the endings. */
static bool is_name(const char *name) {
    if (strspn(name, "0123456789abcdef") != 64 || name[64] != '.') return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (!strcmp(name + 65, ends[i])) return true;
    return false;
}

static int latest_first(const void *a, const void *b) {
    const CacheFile *x = a, *y = b;
    if (x->used != y->used) return x->used < y->used ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* The files of the folder that are ours by name, kind and owner. NULL: none, or no memory. */
static CacheFile *list(DIR *folder, int64_t *count) {
    CacheFile *all = NULL;
    int64_t room = 0;
    *count = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat seen;
        if (!is_name(entry->d_name) || fstatat(dirfd(folder), entry->d_name, &seen, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(seen.st_mode) || seen.st_uid != geteuid())
            continue;
        if (*count == room) {
            CacheFile *grown = mem_grow(all, (size_t)(room += 256) * sizeof *grown);
            if (!grown) break;
            all = grown;
        }
        CacheFile *file = &all[(*count)++];
        *file = (CacheFile){.bytes = seen.st_size, .used = seen.st_mtime};
        snprintf(file->name, sizeof file->name, "%.79s", entry->d_name);
    }
    return all;
}

static void count_in(CacheSum *sum, const CacheFile *file) {
    if (!sum) return;
    sum->files++;
    sum->bytes += file->bytes;
}

void cache_prune(const char *path, const CacheLimits *limits, CacheSum *stay, CacheSum *gone) {
    if (stay) *stay = (CacheSum){0, 0};
    if (gone) *gone = (CacheSum){0, 0};
    DIR *folder = path ? opendir(path) : NULL;
    if (!folder) return;
    int64_t count, bytes = 0, now = time(NULL);
    CacheFile *file = list(folder, &count);
    if (count) qsort(file, (size_t)count, sizeof *file, latest_first);
    for (int64_t i = 0; i < count; i++) {
        bytes += file[i].bytes;
        bool keep = !limits || (bytes <= limits->bytes && now - file[i].used <= limits->seconds);
        if (limits && !limits->bytes) keep = false;
        if (!keep) keep = unlinkat(dirfd(folder), file[i].name, 0) != 0;
        count_in(keep ? stay : gone, &file[i]);
    }
    mem_free(file);
    closedir(folder);
}
