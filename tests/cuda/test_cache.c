/* Kernels kept on disk: what decides a key, what is not trusted, what races do; and compiling by other processes. The
 * NVRTC is that of fake_driver.c: with "compile=6" it compiles nothing, so what still works came out of the folder. */
#include "base/file.h"
#include "base/mem.h"
#include "cuda/cache.h"
#include "cuda/driver.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char fake_path[300], folder[400];

static void compiles(int code) {
    char told[32];
    snprintf(told, sizeof told, "compile=%d", code);
    setenv("FAKE_CUDA", told, 1);
}

static int told_kernels;
static void told(int kernels, int arch) {
    assert_int_equal(arch, 86);
    told_kernels = kernels;
}

static Gpu *open_fake(const char *program) {
    const char *build = getenv("PANUM_BUILD");
    Gpu *gpu;
    snprintf(fake_path, sizeof fake_path, "%s%s/tests/cuda/libcuda_fake.so", build && build[0] == '/' ? "" : "./",
             build ? build : "build");
    setenv("FAKE_CUDA", "", 1);
    CudaLibraries libraries = {.driver = fake_path, .nvrtc = fake_path, .compile = {folder, program, 3, told}};
    assert_int_equal(cuda_open(&libraries, 0, &gpu), 0);
    return gpu;
}

/* A folder that is not there yet. */
static void new_folder(const char *name) {
    snprintf(folder, sizeof folder, "%s/below/kernels", scratch_folder(name));
}

static int load(Gpu *gpu, GpuSource source) {
    GpuModule *module;
    int code = gpu->call->module(gpu, &source, &module);
    gpu->call->module_drop(module);
    return code;
}

/* How many kernels lie there; the path of the last one seen. */
static int kept(char path[800]) {
    int count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!strstr(entry->d_name, ".cubin")) continue;
        if (path) snprintf(path, 800, "%s/%s", folder, entry->d_name);
        count++;
    }
    if (dir) closedir(dir);
    return count;
}

static const GpuSource simple = {.name = "x.cu", .text = "x"};

static void test_kept(void **state) {
    (void)state;
    new_folder("cache_kept");
    Gpu *gpu = open_fake(NULL);
    assert_int_equal(load(gpu, simple), 0);
    assert_int_equal(kept(NULL), 1);
    struct stat seen;
    assert_int_equal(stat(folder, &seen), 0);
    assert_int_equal(seen.st_mode & 0777, 0700);
    gpu_close(gpu);
    gpu = open_fake(NULL);
    compiles(6);
    assert_int_equal(load(gpu, simple), 0); /* not compiled again */
    GpuSource other = simple;
    other.text = "y";
    assert_int_equal(load(gpu, other), ERR_DEVICE);
    gpu_close(gpu);
}

/* Whatever goes into a kernel is in its key: text and its name, headers and theirs, definitions in their order,
 * options, architecture, NVRTC's version, and the very library by its size and by its date. The format's number is in
 * the head of each file as well (test_damage changes it). */
static void test_keys(void **state) {
    (void)state;
    Gpu *gpu = open_fake(NULL);
    const Nvrtc *nvrtc;
    assert_int_equal(nvrtc_open(fake_path, &nvrtc), 0);
    GpuSource s[] = {simple, simple, simple, simple, simple, simple, simple, simple, simple};
    s[1].name = "y.cu";
    s[2].text = "y";
    s[3].define = "-DA";
    s[4].headers = 1, s[4].header_name[0] = "h", s[4].header_text[0] = "t";
    s[5].headers = 1, s[5].header_name[0] = "h", s[5].header_text[0] = "u";
    s[6].headers = 1, s[6].header_name[0] = "ht", s[6].header_text[0] = "";
    s[7].define = "-DA -DB", s[8].define = "-DB -DA";
    CacheKey key[16];
    int n = 0;
    for (int i = 0; i < 9; i++) key[n++] = cache_key(nvrtc, &s[i], 86, COMPILE_PLAIN);
    key[n++] = cache_key(nvrtc, &simple, 87, COMPILE_PLAIN);
    key[n++] = cache_key(nvrtc, &simple, 86, COMPILE_STRICT);
    setenv("FAKE_CUDA", "nvrtc=128", 1);
    key[n++] = cache_key(nvrtc, &simple, 86, COMPILE_PLAIN);
    setenv("FAKE_CUDA", "", 1);
    /* other libraries of the same version */
    char copy[400], command[900];
    snprintf(copy, sizeof copy, "%s/libnvrtc.so", scratch_folder("cache_keys"));
    snprintf(command, sizeof command, "cp '%s' '%s' && echo >>'%s'", fake_path, copy, copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(nvrtc_open(copy, &nvrtc), 0);
    key[n++] = cache_key(nvrtc, &simple, 86, COMPILE_PLAIN);
    snprintf(command, sizeof command, "touch -d 2001-02-03 '%s'", copy);
    assert_int_equal(system(command), 0);
    key[n++] = cache_key(nvrtc, &simple, 86, COMPILE_PLAIN);
    assert_true(n <= 16);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) assert_string_not_equal(key[i].hex, key[k].hex);
    assert_int_equal(nvrtc_open(fake_path, &nvrtc), 0);
    assert_string_equal(key[0].hex, cache_key(nvrtc, &simple, 86, COMPILE_PLAIN).hex);
    gpu_close(gpu);
}

static void change(const char *path, off_t at, int byte) {
    int file = open(path, O_WRONLY);
    uint8_t b = (uint8_t)byte;
    assert_true(file >= 0 && pwrite(file, &b, 1, at) == 1);
    close(file);
}

/* Damaged, foreign and odd files are not used, and replaced where that can be done. */
static void test_damage(void **state) {
    (void)state;
    char path[800], other[900];
    struct stat seen;
    new_folder("cache_damage");
    Gpu *gpu = open_fake(NULL);
    for (int way = 0; way < 9; way++) {
        compiles(0);
        assert_int_equal(load(gpu, simple), 0);
        assert_int_equal(kept(path), 1);
        assert_int_equal(stat(path, &seen), 0);
        compiles(6);
        assert_int_equal(load(gpu, simple), 0);
        switch (way) {
        case 0:
            change(path, 3, 'X');
            break; /* the magic */
        case 1:
            change(path, 20, 0xaa);
            break; /* whose it is */
        case 2:
            change(path, 50, 0xaa);
            break; /* the sum */
        case 3:
            change(path, seen.st_size - 1, 0xaa);
            break; /* the code */
        case 4:
            change(path, seen.st_size, 0);
            break; /* longer */
        case 5:
            assert_int_equal(truncate(path, 40), 0);
            break; /* shorter */
        case 6:
            assert_int_equal(truncate(path, 0), 0);
            break;
        case 7:
            assert_int_equal(chmod(path, 0666), 0);
            break; /* others could have written it */
        case 8:
            if (geteuid() == 0)
                assert_int_equal(chown(path, 4711, 4711), 0);
            else
                assert_int_equal(truncate(path, 1), 0);
            break;
        }
        int code = load(gpu, simple);
        if (code != ERR_DEVICE) fail_msg("way %d: what was damaged is used", way);
        compiles(0);
        assert_int_equal(load(gpu, simple), 0);
        compiles(6);
        if (load(gpu, simple)) fail_msg("way %d: it was not made anew: %s", way, err_sentence());
        assert_int_equal(kept(NULL), 1);
    }
    /* a link, a folder and a FIFO in its place: worked without, and left alone */
    for (int way = 0; way < 3; way++) {
        assert_int_equal(unlink(path), 0);
        snprintf(other, sizeof other, "%s/../elsewhere", folder);
        if (way == 0) assert_int_equal(symlink(other, path), 0);
        if (way == 1) assert_int_equal(mkdir(path, 0700), 0);
        if (way == 2) assert_int_equal(mkfifo(path, 0600), 0);
        compiles(0);
        assert_int_equal(load(gpu, simple), 0);
        assert_int_equal(access(other, F_OK), -1);
        if (way == 1) {
            assert_int_equal(rmdir(path), 0);
            assert_int_equal(load(gpu, simple), 0);
        }
    }
    gpu_close(gpu);
}

/* A folder that others may write to, or that is none, is not used; work goes on. */
static void test_folders(void **state) {
    (void)state;
    new_folder("cache_folders");
    Gpu *gpu = open_fake(NULL);
    assert_int_equal(load(gpu, simple), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    compiles(6);
    assert_int_equal(load(gpu, simple), ERR_DEVICE);
    compiles(0);
    assert_int_equal(load(gpu, simple), 0);
    gpu_close(gpu);
    strcat(folder, "/not");
    FILE *file = fopen(folder, "w");
    assert_non_null(file);
    fclose(file);
    gpu = open_fake(NULL);
    assert_int_equal(load(gpu, simple), 0);
    gpu_close(gpu);
    strcat(folder, "/below");
    gpu = open_fake(NULL);
    assert_int_equal(load(gpu, simple), 0);
    gpu_close(gpu);
    assert_false(cache_usable(NULL));
}

enum { RACERS = 6, RACES = 40 };

static void race(void) {
    Gpu *gpu = open_fake(NULL);
    char text[16];
    for (int i = 0; i < RACES; i++) {
        snprintf(text, sizeof text, "%d", i % 5);
        GpuSource source = {.name = "x.cu", .text = text};
        if (load(gpu, source)) _exit(1);
    }
    gpu_close(gpu);
    _exit(0);
}

static void test_races(void **state) {
    (void)state;
    new_folder("cache_races");
    pid_t process[RACERS];
    for (int i = 0; i < RACERS; i++)
        if ((process[i] = fork()) == 0) race();
    for (int i = 0; i < RACERS; i++) {
        int status = -1;
        assert_int_equal(waitpid(process[i], &status, 0), process[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(kept(NULL), 5);
    Gpu *gpu = open_fake(NULL);
    compiles(6);
    assert_int_equal(load(gpu, (GpuSource){.name = "x.cu", .text = "4"}), 0);
    gpu_close(gpu);
}

/* Other processes fill the folder; what they cannot do is done here. */
static void test_processes(void **state) {
    (void)state;
    new_folder("cache_processes");
    char text[7][8];
    GpuSource source[7];
    for (int i = 0; i < 7; i++) {
        snprintf(text[i], sizeof text[i], "text %d", i);
        source[i] = (GpuSource){.name = "x.cu", .text = text[i], .define = i % 2 ? "-DA -DB=2" : NULL, .headers = 1};
        source[i].header_name[0] = "h.h", source[i].header_text[0] = "header";
    }
    Gpu *gpu = open_fake(panum_program());
    assert_int_equal(gpu->call->prepare(gpu, source, 7), 0);
    assert_int_equal(told_kernels, 7);
    assert_int_equal(kept(NULL), 7);
    compiles(6);
    for (int i = 0; i < 7; i++) assert_int_equal(load(gpu, source[i]), 0);
    told_kernels = 0;
    assert_int_equal(gpu->call->prepare(gpu, source, 7), 0); /* nothing is missing */
    assert_int_equal(told_kernels, 0);
    /* what does not compile there says so here */
    source[3].text = "new", source[4].text = "newer";
    assert_int_equal(gpu->call->prepare(gpu, source, 7), 0);
    assert_int_equal(told_kernels, 2);
    assert_int_equal(load(gpu, source[3]), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "x.cu(7): error: it is wrong"));
    gpu_close(gpu);
    /* a program that is none, or another one */
    static const char *const wrong[] = {"/nowhere/panum", "/bin/false"};
    for (int i = 0; i < 2; i++) {
        new_folder("cache_processes_not");
        gpu = open_fake(wrong[i]);
        assert_int_equal(gpu->call->prepare(gpu, source, 7), 0);
        for (int k = 0; k < 7; k++) assert_int_equal(load(gpu, source[k]), 0);
        gpu_close(gpu);
    }
    /* what such a process is told wrongly */
    char out[2000];
    assert_int_equal(run_command(out, sizeof out, "echo nonsense | '%s' " COMPILE_WORD, panum_program()), ERR_INPUT);
    assert_int_equal(run_command(out, sizeof out, "'%s' " COMPILE_WORD " </dev/null", panum_program()), ERR_INPUT);
}

/* A file as the cache names them, so old and so large. */
static void put_file(const char *name, int64_t bytes, int days) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int64_t i = 0; i < bytes; i++) fputc(0, file);
    fclose(file);
    struct timespec when[2] = {{.tv_sec = time(NULL) - (time_t)days * 86400},
                               {.tv_sec = time(NULL) - (time_t)days * 86400}};
    assert_int_equal(utimensat(AT_FDCWD, path, when, 0), 0);
}

static bool there(const char *name) {
    char path[600];
    struct stat seen;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &seen) == 0;
}

#define HEX(c) c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c
#define NAME(c) HEX(c) HEX(c)

/* The longest unused go first, then what is too old; what is not of the cache stays whatever its age. */
static void test_prune(void **state) {
    (void)state;
    new_folder("cache_prune");
    assert_true(cache_usable(folder));
    put_file(NAME("1") ".cubin", 100, 0), put_file(NAME("2") ".cubin", 100, 3), put_file(NAME("3") ".verdict", 100, 2);
    put_file(NAME("4") ".cubin", 100, 400);
    static const char *const foreign[] = {"notes.txt",       NAME("5") ".png",   NAME("5"),
                                          HEX("6") ".cubin", NAME("G") ".cubin", NAME("7") ".cubin.old"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) put_file(foreign[i], 1000, 4000);
    char link[600];
    snprintf(link, sizeof link, "%s/%s.cubin", folder, NAME("8"));
    assert_int_equal(symlink("notes.txt", link), 0);
    CacheSum stay, gone;
    cache_prune(folder, NULL, &stay, &gone);
    assert_true(stay.files == 4 && stay.bytes == 400 && gone.files == 0);
    cache_prune(folder, &cache_limits, &stay, &gone);
    assert_true(stay.files == 3 && gone.files == 1 && gone.bytes == 100 && !there(NAME("4") ".cubin"));
    cache_prune(folder, &(CacheLimits){200, 1000000}, &stay, &gone);
    assert_true(stay.files == 2 && !there(NAME("2") ".cubin") && there(NAME("3") ".verdict"));
    cache_prune(folder, &(CacheLimits){0, 0}, &stay, &gone);
    assert_true(stay.files == 0 && gone.files == 2);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) assert_true(there(foreign[i]));
    assert_true(there(NAME("8") ".cubin"));
    cache_prune("no/folder", &cache_limits, &stay, &gone);
    assert_true(stay.files == 0 && gone.files == 0);
    cache_prune(NULL, &cache_limits, NULL, NULL);
}

/* Use renews the date, once a day. */
static void test_use(void **state) {
    (void)state;
    new_folder("cache_use");
    Gpu *gpu = open_fake(NULL);
    assert_int_equal(load(gpu, simple), 0);
    const Nvrtc *nvrtc;
    assert_int_equal(nvrtc_open(fake_path, &nvrtc), 0);
    CacheKey key = cache_key(nvrtc, &simple, 86, COMPILE_PLAIN);
    char path[600];
    struct stat seen;
    snprintf(path, sizeof path, "%s/%s.cubin", folder, key.hex);
    for (int days = 0; days < 3; days += 2) {
        const time_t then = time(NULL) - (time_t)days * 86400 - 100;
        assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){{.tv_sec = then}, {.tv_sec = then}}, 0), 0);
        assert_int_equal(load(gpu, simple), 0);
        assert_int_equal(stat(path, &seen), 0);
        assert_int_equal(seen.st_mtime == then, days == 0);
    }
    gpu_close(gpu);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept),   cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_damage), cmocka_unit_test(test_folders),
                                       cmocka_unit_test(test_prune),  cmocka_unit_test(test_use),
                                       cmocka_unit_test(test_races),  cmocka_unit_test(test_processes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
