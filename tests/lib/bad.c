#include "tests/lib/bad.h"
#include "base/clock.h"
#include "base/hash.h"
#include "data/map.h"
#include "tests/lib/random_dot.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[1024];
static char program[4096], tree[4096], interposed[4096]; /* absolute; the last is faults.c */
static bool sanitized;
static RandomDot dots;

/* ---- making files ---- */

const char *made_path(const char *name) {
    static char paths[4][2048];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void put_bytes(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(made_path(name), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) fail_msg("cannot write %s", name);
}
void put_text(const char *name, const char *text) {
    put_bytes(name, text, strlen(text));
}

Bytes get_bytes(const char *name) {
    Bytes b = {0};
    FILE *file = fopen(made_path(name), "rb");
    struct stat st;
    if (!file || fstat(fileno(file), &st)) fail_msg("cannot read %s", name);
    b.bytes = malloc((size_t)st.st_size + 1);
    b.size = fread(b.bytes, 1, (size_t)st.st_size, file);
    fclose(file);
    return b;
}

void cut(const char *name, double share) {
    Bytes b = get_bytes(name);
    put_bytes(name, b.bytes, (size_t)((double)b.size * share));
    free(b.bytes);
}

void save(const char *name, const Image *image) {
    assert_int_equal(image_write(made_path(name), OUT_OVERWRITE, image, NULL, NULL), 0);
}

const Image *made_eye(int eye) {
    return eye ? &dots.right : &dots.left;
}

void make_pair(void) {
    save("l.png", &dots.left);
    save("r.png", &dots.right);
}

void make_batch(void) {
    const char *const folders[] = {"left", "right"};
    for (int eye = 0; eye < 2; eye++) {
        assert_int_equal(mkdir(made_path(folders[eye]), 0700), 0);
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s/%d.png", folders[eye], i);
            save(name, made_eye(eye));
        }
    }
    assert_int_equal(mkdir(made_path("out"), 0700), 0);
}

void make_precious(void) {
    make_pair();
    put_text("o.pfm", "precious");
}

void make_maps(void) {
    const float maps[2][4] = {{NAN, INFINITY, -INFINITY, 3}, {1, 1, 1, 3}};
    for (int i = 0; i < 2; i++) {
        char bytes[64];
        int n = snprintf(bytes, sizeof bytes, "Pf\n2 2\n-1.0\n");
        memcpy(bytes + n, maps[i], sizeof maps[i]);
        put_bytes(i ? "t.pfm" : "o.pfm", bytes, (size_t)n + sizeof maps[i]);
    }
}

void put_safetensors(uint64_t length, const char *header, size_t header_size, const void *data, size_t size) {
    uint8_t *all = malloc(8 + header_size + size);
    for (int i = 0; i < 8; i++) all[i] = (uint8_t)(length >> (8 * i));
    memcpy(all + 8, header, header_size);
    if (size) memcpy(all + 8 + header_size, data, size);
    put_bytes("w.safetensors", all, 8 + header_size + size);
    free(all);
}

void weights_good(void) {
    static const float numbers[6] = {1, 2, 3, 4, 5, 6};
    put_safetensors(strlen(GOOD_WEIGHTS), GOOD_WEIGHTS, strlen(GOOD_WEIGHTS), numbers, sizeof numbers);
}

/* ---- running ---- */

const char *bad_program(void) {
    return program;
}

const char *bad_folder(const char *name) {
    snprintf(folder, sizeof folder, "%s", scratch_folder(name));
    return folder;
}

/* Names and contents of all files below a path, as one number. */
uint64_t fingerprint(const char *path) {
    uint64_t sum = 0;
    DIR *dir = opendir(path);
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char inner[2048];
        struct stat st;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (lstat(inner, &st) != 0) continue;
        uint64_t mine = fnv1a64(inner, strlen(inner));
        if (S_ISDIR(st.st_mode)) mine ^= fingerprint(inner) * 31;
        if (S_ISREG(st.st_mode) && st.st_size > 1 << 26) mine ^= (uint64_t)st.st_size * 31;
        if (S_ISREG(st.st_mode) && st.st_size <= 1 << 26) {
            FILE *file = fopen(inner, "rb");
            static char bytes[1 << 20];
            size_t n;
            while (file && (n = fread(bytes, 1, sizeof bytes, file)) > 0)
                mine = mine * 1099511628211u ^ fnv1a64(bytes, n);
            if (file) fclose(file);
        }
        sum += mine; /* in any order */
    }
    closedir(dir);
    return sum;
}

bool has_part(const char *path) {
    char found[4096];
    run_command(found, sizeof found, "find '%s' -name '*.part.*'", path);
    return found[0] != 0;
}

char said[1 << 16];

static int run_case(const Case *c) {
    char name[128]; /* other programs run beside this one and have cases of the same name */
    snprintf(name, sizeof name, "bad/%s_", program_invocation_short_name);
    for (const char *s = c->id; *s; s++) strncat(name, *s == ' ' || *s == '/' || *s == '>' ? "_" : (char[2]){*s, 0}, 1);
    const char *path = bad_folder(name);
    if (c->make) c->make();
    uint64_t before = fingerprint(path);
    int limit = c->limit > 0 ? c->limit : 512;
    char ulimit[64] = "";
    if (sanitized && c->limit < 0) {
        printf("skip: %s: not under a sanitizer, which needs what this case takes away\n", c->id);
        return 0;
    }
    if (!sanitized && c->limit >= 0) snprintf(ulimit, sizeof ulimit, "ulimit -v %d; ", limit * 1024);
    double start = clock_seconds();
    int rc = run_command(said, sizeof said, "cd '%s' && P=%s && T=%s && F=%s && export P T F && ( %s%s )", path,
                         program, tree, interposed, ulimit, c->command);
    double ms = (clock_seconds() - start) * 1e3;
    const char *why = NULL;
    if (rc != c->code)
        why = "another exit code";
    else if (!strstr(said, c->pattern))
        why = "other words";
    else if (has_part(path))
        why = "a part file left behind";
    else if (c->code > 1 && strstr(c->command, "; ") == NULL && fingerprint(path) != before)
        why = "files changed";
    printf("  %-20s %d %6.0f ms  %.150s%s\n", c->id, rc, ms, said, strchr(said, '\n') ? "" : "\n");
    if (why)
        print_error("%s: %s: exit %d (wanted %d), wanted '%s', said: %s\n  %s\n", c->id, why, rc, c->code, c->pattern,
                    said, c->command);
    return why != NULL;
}

void run_table(const Case *cases, size_t count) {
    int bad = 0;
    for (size_t i = 0; i < count; i++) {
        bool permission = strstr(cases[i].id, "permission");
        if (permission && geteuid() == 0) {
            printf("skip: %s: this is root, who may read everything\n", cases[i].id);
            continue;
        }
        bad += run_case(&cases[i]);
    }
    if (bad) fail_msg("%d of %zu cases", bad, count);
}

int bad_set_up(void **state) {
    (void)state;
    const char *build = getenv("PANUM_BUILD") ? getenv("PANUM_BUILD") : "build";
    sanitized = strstr(build, "san") != NULL;
    if (!realpath(panum_program(), program) || !getcwd(tree, sizeof tree)) return -1;
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/bad/faults.so", build);
    if (!realpath(path, interposed)) return -1;
    return random_dot_make(&dots, NULL);
}

int bad_tear_down(void **state) {
    (void)state;
    random_dot_free(&dots);
    return 0;
}
