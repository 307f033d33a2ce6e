#include "cuda/compile.h"
#include "base/file.h"
#include "base/mem.h"
#include "cuda/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MAX = 64, REQUEST_MOST = 256 << 20 };

static int compile_into(const Nvrtc *nvrtc, const char *cache, const CacheKey *key, const GpuSource *source, int arch,
                        Compiled *compiled) {
    int code = nvrtc_compile(nvrtc, source, arch, COMPILE_PLAIN, compiled);
    if (!code && cache) cache_write(cache, key, compiled->code, compiled->bytes);
    return code;
}

int compile_kernel(const Nvrtc *nvrtc, const CompileHelp *help, const GpuSource *source, int arch, Compiled *compiled) {
    *compiled = (Compiled){0};
    const char *cache = cache_usable(help->cache) ? help->cache : NULL;
    CacheKey key = {.kind = CACHE_KERNEL};
    if (cache) key = cache_key(nvrtc, source, arch, COMPILE_PLAIN);
    if (cache && cache_read(cache, &key, &compiled->code, &compiled->bytes)) return 0;
    return compile_into(nvrtc, cache, &key, source, arch, compiled);
}

/* ---- what one process asks another: texts, each with its length before it ---- */

static bool put(FILE *to, const char *text) {
    uint64_t bytes = text ? strlen(text) : UINT64_MAX;
    return fwrite(&bytes, sizeof bytes, 1, to) == 1 && (!text || fwrite(text, 1, bytes, to) == bytes);
}

static bool put_number(FILE *to, int number) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    return put(to, text);
}

/* Every `step`-th of the sources, from `first` on. All have the headers of the first. */
static bool put_request(FILE *to, const Nvrtc *nvrtc, const char *cache, int arch, const GpuSource *const *source,
                        int count, int first, int step) {
    bool good = put(to, cache) && put(to, nvrtc_path(nvrtc)) && put_number(to, arch);
    good = good && put_number(to, source[0]->headers);
    for (int i = 0; good && i < source[0]->headers; i++)
        good = put(to, source[0]->header_name[i]) && put(to, source[0]->header_text[i]);
    for (int i = first; good && i < count; i += step)
        good = put(to, source[i]->name) && put(to, source[i]->define) && put(to, source[i]->text);
    return good;
}

typedef struct {
    char *at, *end;
    bool broken;
} Reader;

/* The next text, ended with a zero where the length of the one after it began: what has been read is not needed. */
static const char *get(Reader *r) {
    uint64_t bytes;
    if (r->broken || (size_t)(r->end - r->at) < sizeof bytes) {
        r->broken = true;
        return "";
    }
    memcpy(&bytes, r->at, sizeof bytes);
    char *text = r->at; /* moved down over its length, which makes room for the zero */
    r->at += sizeof bytes;
    if (bytes == UINT64_MAX) return NULL;
    if (bytes > (uint64_t)(r->end - r->at)) {
        r->broken = true;
        return "";
    }
    memmove(text, r->at, (size_t)bytes);
    text[bytes] = 0;
    r->at += bytes;
    return text;
}

static int get_number(Reader *r) {
    const char *text = get(r);
    int number = -1;
    if (!text || sscanf(text, "%d", &number) != 1 || number < 0) r->broken = true;
    return number;
}

static int broken(void) {
    return fail(ERR_INPUT, "%s reads what another panum writes, and this is not that", COMPILE_WORD);
}

static int serve(Reader r) {
    GpuSource source = {0};
    const char *cache = get(&r), *path = get(&r);
    int arch = get_number(&r);
    source.headers = get_number(&r);
    if (r.broken || !cache || source.headers > GPU_HEADERS_MAX) return broken();
    for (int i = 0; i < source.headers; i++) {
        source.header_name[i] = get(&r);
        source.header_text[i] = get(&r);
        if (!source.header_name[i] || !source.header_text[i]) return broken();
    }
    const Nvrtc *nvrtc;
    int code = nvrtc_open(path, &nvrtc);
    if (code) return code;
    if (!cache_usable(cache)) return fail(ERR_FAILED, "the folder of compiled kernels cannot be used");
    while (r.at < r.end) {
        source.name = get(&r);
        source.define = get(&r);
        source.text = get(&r);
        if (r.broken || !source.name || !source.text) return broken();
        CacheKey key = cache_key(nvrtc, &source, arch, COMPILE_PLAIN);
        Compiled compiled;
        int one = compile_into(nvrtc, cache, &key, &source, arch, &compiled);
        if (one) code = one;
        compiled_free(&compiled);
    }
    return code;
}

int compile_serve(int file) {
    size_t bytes = 0, room = 1 << 20;
    char *all = mem_alloc(room);
    for (ssize_t n = 1; all && n > 0;) {
        if (bytes == room && room < REQUEST_MOST) {
            char *grown = mem_grow(all, room *= 2);
            if (!grown) break;
            all = grown;
        }
        n = read(file, all + bytes, room - bytes);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            bytes += (size_t)n;
    }
    int code = all ? serve((Reader){all, all + bytes, false}) : (int)ERR_MEMORY;
    mem_free(all);
    return code;
}

/* ---- other processes ---- */

/* 0 when it could not be begun. */
static pid_t begin(const CompileHelp *help, int request) {
    extern char **environ;
    char *arguments[] = {(char[]){"panum"}, (char[]){COMPILE_WORD}, NULL};
    posix_spawn_file_actions_t files;
    pid_t process = 0;
    if (posix_spawn_file_actions_init(&files)) return 0;
    int code = posix_spawn_file_actions_adddup2(&files, request, STDIN_FILENO);
    if (!code) code = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!code) code = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (!code) code = posix_spawn(&process, help->program, &files, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    return code ? 0 : process;
}

static pid_t begin_share(const Nvrtc *nvrtc, const CompileHelp *help, const GpuSource *const *source, int count,
                         int arch, int first, int step) {
    int file = memfd_create("kernels", MFD_CLOEXEC);
    FILE *to = file < 0 ? NULL : fdopen(file, "w");
    if (!to) {
        if (file >= 0) close(file);
        return 0;
    }
    pid_t process = 0;
    bool good = put_request(to, nvrtc, help->cache, arch, source, count, first, step) && fflush(to) == 0 &&
                lseek(file, 0, SEEK_SET) == 0;
    if (good) process = begin(help, file);
    fclose(to);
    return process;
}

static bool same_headers(const GpuSource *a, const GpuSource *b) {
    bool same = a->headers == b->headers;
    for (int i = 0; same && i < a->headers; i++)
        same = !strcmp(a->header_name[i], b->header_name[i]) && a->header_text[i] == b->header_text[i];
    return same;
}

int compile_ahead(const Nvrtc *nvrtc, const CompileHelp *help, const GpuSource *source, int count, int arch) {
    const GpuSource **missing = mem_array((size_t)count + 1, sizeof *missing);
    if (!missing) return ERR_MEMORY;
    bool cache = cache_usable(help->cache), together = cache && help->program;
    int n = 0;
    for (int i = 0; i < count; i++) {
        CacheKey key;
        if (cache) key = cache_key(nvrtc, &source[i], arch, COMPILE_PLAIN);
        if (!cache || !cache_has(help->cache, &key)) missing[n++] = &source[i];
    }
    for (int i = 0; i < n; i++) together = together && same_headers(missing[0], missing[i]);
    if (n && help->told) help->told(n, arch);
    pid_t process[PROCESSES_MAX] = {0};
    int shares = help->processes < PROCESSES_MAX ? help->processes : PROCESSES_MAX;
    if (shares > n) shares = n;
    if (!together || shares < 2) shares = 0; /* one alone is compiled where it is wanted */
    for (int i = 0; i < shares; i++) process[i] = begin_share(nvrtc, help, missing, n, arch, i, shares);
    for (int i = 0; i < shares; i++)
        while (process[i] && waitpid(process[i], NULL, 0) < 0 && errno == EINTR) continue;
    mem_free(missing);
    if (n && cache) cache_prune(help->cache, &cache_limits, NULL, NULL);
    return 0;
}
