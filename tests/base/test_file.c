/* base/file.c: what may be read, maps that shrink, and that a file under its final name is whole or the old one. */
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path_text[8][700];

static const char *in(const char *folder, const char *name) {
    static int turn;
    char *path = path_text[turn++ % 8];
    snprintf(path, sizeof path_text[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void holds(const char *path, const char *text) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &size), 0);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(bytes, text, size);
    mem_free(bytes);
}

static int files_in(const char *folder) {
    DIR *list = opendir(folder);
    int n = 0;
    for (struct dirent *e; (e = readdir(list)) != NULL;) n += e->d_name[0] != '.';
    closedir(list);
    return n;
}

static void expect_refused(const char *path, size_t limit, const char *words) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(file_read(path, limit, &bytes, &size), ERR_INPUT);
    assert_null(bytes);
    if (!strstr(err_sentence(), words)) fail_msg("'%s' lacks '%s'", err_sentence(), words);
}

static void only_regular_files_are_read(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_read");
    assert_int_equal(mkfifo(in(folder, "fifo"), 0600), 0);
    assert_int_equal(symlink("loop", in(folder, "loop")), 0);
    put(in(folder, "five"), "12345");
    put(in(folder, "a\nb"), "x");
    expect_refused(folder, 100, "is a folder");
    expect_refused(in(folder, "fifo"), 100, "is a pipe"); /* and does not wait for a writer */
    expect_refused("/dev/zero", 100, "is a device");
    expect_refused(in(folder, "none"), 100, "no such file");
    expect_refused(in(folder, "loop"), 100, "in a circle");
    expect_refused(in(folder, "five"), 4, "has 5 bytes, the limit for such a file is 4");
    expect_refused(in(folder, "a\nb"), 0, "a\\x0ab");
    holds(in(folder, "five"), "12345");
    uint8_t *bytes;
    size_t size;
    assert_int_equal(file_read(in(folder, "five"), 5, &bytes, &size), 0);
    mem_free(bytes);
}

static void shrinking_map_gives_zeros_and_a_sentence(void **state) {
    (void)state;
    const char *path = in(scratch_folder("file_map"), "data");
    FILE *f = fopen(path, "wb");
    for (int i = 0; i < 100000; i++) fputc('x', f);
    fclose(f);
    FileMap *map;
    assert_int_equal(file_map(path, &map), 0);
    assert_int_equal(file_map_size(map), 100000);
    assert_int_equal(file_map_bytes(map)[99999], 'x');
    assert_int_equal(file_map_check(map), 0);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(file_map_bytes(map)[50000], 0);
    assert_int_equal(file_map_bytes(map)[99999], 0);
    assert_int_equal(file_map_check(map), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "changed while being read"));
    file_unmap(map);
    put(path, "");
    assert_int_equal(file_map(path, &map), 0);
    assert_int_equal(file_map_size(map), 0);
    file_unmap(map);
    file_unmap(NULL);
}

static void nothing_changes_before_commit(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_out"), *path = in(folder, "out");
    Out *out;
    assert_int_equal(out_open(path, OUT_NEW, &out), 0);
    assert_int_equal(out_print(out, "%s %d", "hello", 5), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(out_commit(&out), 0);
    assert_null(out);
    holds(path, "hello 5");

    assert_int_equal(out_open(path, OUT_NEW, &out), ERR_USAGE);
    assert_non_null(strstr(err_sentence(), "exists already; add -y"));
    assert_int_equal(out_check(path, OUT_NEW), ERR_USAGE);
    assert_int_equal(out_check(path, OUT_OVERWRITE), 0);

    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    Out *second;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &second), ERR_USAGE);
    char big[300000];
    memset(big, 'z', sizeof big);
    assert_int_equal(out_write(out, big, sizeof big), 0);
    holds(path, "hello 5");
    out_abort(&out);
    holds(path, "hello 5");
    assert_int_equal(files_in(folder), 1);
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(out_write(out, "new", 3), 0);
    assert_int_equal(out_commit(&out), 0);
    holds(path, "new");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);

    const char *late = in(folder, "late");
    assert_int_equal(out_open(late, OUT_NEW, &out), 0);
    put(late, "somebody else's");
    assert_int_equal(out_commit(&out), ERR_USAGE);
    holds(late, "somebody else's");
    assert_int_equal(files_in(folder), 2);
}

static void links_are_followed_and_stay(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_link"), *link = in(folder, "link");
    Out *out;
    assert_int_equal(mkdir(in(folder, "sub"), 0700), 0);
    assert_int_equal(symlink("sub/target", link), 0);
    assert_int_equal(out_open(link, OUT_NEW, &out), 0); /* dangling: the target is made */
    assert_int_equal(out_write(out, "one", 3), 0);
    assert_int_equal(out_commit(&out), 0);
    holds(in(folder, "sub/target"), "one");
    assert_int_equal(out_open(link, OUT_OVERWRITE, &out), 0);
    assert_int_equal(out_write(out, "two", 3), 0);
    assert_int_equal(out_commit(&out), 0);
    holds(in(folder, "sub/target"), "two");
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(symlink("loop", in(folder, "loop")), 0);
    assert_int_equal(out_open(in(folder, "loop"), OUT_NEW, &out), ERR_USAGE);
}

static void bad_places_are_refused_before_work(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_places");
    put(in(folder, "file"), "x");
    assert_int_equal(out_check(in(folder, "none/out"), OUT_NEW), ERR_USAGE);
    assert_non_null(strstr(err_sentence(), "does not exist"));
    assert_int_equal(out_check(in(folder, "file/out"), OUT_NEW), ERR_USAGE);
    assert_int_equal(out_check(folder, OUT_OVERWRITE), ERR_USAGE);
    assert_int_equal(out_check("", OUT_NEW), ERR_USAGE);
    char name[300];
    memset(name, 'n', 255);
    name[255] = 0;
    Out *out; /* 255 bytes are allowed for a name; its part file must fit too */
    assert_int_equal(out_open(in(folder, name), OUT_NEW, &out), 0);
    assert_int_equal(out_commit(&out), 0);
    assert_int_equal(access(in(folder, name), F_OK), 0);
    name[255] = 'n';
    name[256] = 0;
    assert_int_equal(out_open(in(folder, name), OUT_NEW, &out), ERR_USAGE);
}

static void two_names_of_one_output(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_same");
    char a[700], b[700];
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"x", "./x", true},       {"x", "sub/../x", true},   {"x", "sub/x", false},       {"sub/x", "other//x", true},
        {"x", "link", true},      {"new", "dangling", true}, {"new/x", "./new//x", true}, {"new/x", "new/y", false},
        {"new/", "new/./", true}, {"x", "hard", false}, /* replaced one by one, two files come of them */
    };
    put(in(folder, "x"), "x");
    assert_int_equal(mkdir(in(folder, "sub"), 0700), 0);
    assert_int_equal(symlink("sub", in(folder, "other")), 0);
    assert_int_equal(symlink("x", in(folder, "link")), 0);
    assert_int_equal(symlink("./new", in(folder, "dangling")), 0);
    assert_int_equal(link(in(folder, "x"), in(folder, "hard")), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(a, sizeof a, "%s/%s", folder, cases[i].a);
        snprintf(b, sizeof b, "%s/%s", folder, cases[i].b);
        if (out_same(a, b) != cases[i].same || out_same(b, a) != cases[i].same)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
    }
}

static void full_disk_keeps_the_old_file(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_full"), *path = in(folder, "out");
    Out *out;
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(out_open("/dev/full", OUT_NEW, &out), 0);
        assert_int_equal(out_write(out, "abc", 3), 0);
        assert_int_equal(out_commit(&out), ERR_MEMORY);
        assert_non_null(strstr(err_sentence(), "disk full after 0 bytes; nothing was replaced"));
    }
    put(path, "old");
    fflush(NULL);
    pid_t child = fork(); /* a limit on file sizes stands in for a disk that fills up */
    if (child == 0) {
        struct rlimit limit = {100000, 100000};
        static char block[50000];
        setrlimit(RLIMIT_FSIZE, &limit);
        int rc = out_open(path, OUT_OVERWRITE, &out);
        for (int i = 0; i < 20 && !rc; i++) rc = out_write(out, block, sizeof block);
        int sticky = out_write(out, block, 1), end = out_commit(&out);
        _exit(rc == ERR_MEMORY && sticky == ERR_MEMORY && end == ERR_MEMORY &&
                      strstr(err_sentence(), "nothing was replaced")
                  ? 0
                  : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    holds(path, "old");
    assert_int_equal(files_in(folder), 1);
}

static void devices_and_pipes_are_written_in_place(void **state) {
    (void)state;
    const char *fifo = in(scratch_folder("file_fifo"), "fifo");
    Out *out;
    assert_int_equal(out_open("/dev/null", OUT_NEW, &out), 0);
    assert_int_equal(out_write(out, "x", 1), 0);
    assert_int_equal(out_commit(&out), 0);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int reader = open(fifo, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(out_open(fifo, OUT_NEW, &out), 0);
    assert_int_equal(out_write(out, "through", 7), 0);
    assert_int_equal(out_commit(&out), 0);
    char got[16] = "";
    assert_int_equal(read(reader, got, sizeof got), 7);
    assert_string_equal(got, "through");
    assert_int_equal(out_open(fifo, OUT_NEW, &out), 0);
    close(reader); /* nobody reads any more: an error, not SIGPIPE */
    assert_int_equal(out_write(out, "x", 1), 0);
    assert_int_equal(out_commit(&out), ERR_FAILED);
    assert_non_null(strstr(err_sentence(), "closed by its reader"));
}

/* What is open already has no name of its own to be refused by; a file that somebody put into /dev/shm has. */
static void files_below_dev(void **state) {
    (void)state;
    const char *path = in(scratch_folder("file_dev"), "out");
    char opened[64], memory[64];
    Out *out;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    snprintf(opened, sizeof opened, "/dev/fd/%d", fd);
    assert_int_equal(out_open(opened, OUT_NEW, &out), 0);
    assert_int_equal(out_write(out, "through", 7), 0);
    assert_int_equal(out_commit(&out), 0);
    close(fd);
    holds(path, "through");
    if (access("/dev/shm", W_OK) != 0) return;
    snprintf(memory, sizeof memory, "/dev/shm/panum_test_%d", (int)getpid());
    put(memory, "mine");
    assert_int_equal(out_open(memory, OUT_NEW, &out), ERR_USAGE);
    assert_int_equal(out_open(memory, OUT_OVERWRITE, &out), 0);
    assert_int_equal(out_write(out, "new", 3), 0);
    holds(memory, "mine"); /* until it is whole */
    assert_int_equal(out_commit(&out), 0);
    holds(memory, "new");
    unlink(memory);
}

static void only_dead_part_files_are_swept(void **state) {
    (void)state;
    const char *folder = scratch_folder("file_sweep");
    char dead[64], live[64];
    pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child); /* its number is free now */
    snprintf(dead, sizeof dead, "a.png.part.%d.panum", (int)child);
    snprintf(live, sizeof live, "b.png.part.%d.panum", (int)getppid());
    put(in(folder, dead), "x");
    put(in(folder, live), "x");
    put(in(folder, "film.part.2"), "a user's own");
    put(in(folder, "film.part.999999999"), "a user's own");
    put(in(folder, "c.part.x.panum"), "a user's own");
    out_sweep(folder);
    assert_int_not_equal(access(in(folder, dead), F_OK), 0);
    assert_int_equal(access(in(folder, live), F_OK), 0);
    assert_int_equal(files_in(folder), 4);
    out_sweep(in(folder, "none"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(shrinking_map_gives_zeros_and_a_sentence),
        cmocka_unit_test(nothing_changes_before_commit),
        cmocka_unit_test(links_are_followed_and_stay),
        cmocka_unit_test(bad_places_are_refused_before_work),
        cmocka_unit_test(two_names_of_one_output),
        cmocka_unit_test(full_disk_keeps_the_old_file),
        cmocka_unit_test(devices_and_pipes_are_written_in_place),
        cmocka_unit_test(files_below_dev),
        cmocka_unit_test(only_dead_part_files_are_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
