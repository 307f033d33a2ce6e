#include "apps/lib/lock.h"
#include "apps/lib/run.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_lock(const char *folder, const char *output, int *descriptor) {
    char path[PATH_MAX];
    *descriptor = -1;
    if ((size_t)snprintf(path, sizeof path, "%s/lock", folder) >= sizeof path)
        return fail(ERR_USAGE, "%s: the name is too long", show_path(folder));
    for (int tries = 0; tries < 10; tries++) {
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: cannot be made: %s", show_path(folder),
                        strerror(errno));
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0 && errno == ENOENT) continue;
        if (fd < 0) return fail(ERR_USAGE, "%s: cannot be written: %s", show_path(path), strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            char owner[24] = "";
            ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
            owner[n > 0 ? n : 0] = 0;
            close(fd);
            return fail(ERR_USAGE, "%s: another panum (pid %ld) is writing it; wait for it, or choose another output",
                        show_path(output), strtol(owner, NULL, 10));
        }
        struct stat ours, there;
        if (fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino) {
            char owner[24];
            int n = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
            if (ftruncate(fd, 0) == 0 && pwrite(fd, owner, (size_t)n, 0) == n) {
                *descriptor = fd;
                return 0;
            }
            int code = fail(ERR_MEMORY, "%s: cannot be written: %s", show_path(path), strerror(errno));
            close(fd);
            return code;
        }
        close(fd); /* its owner has just finished and removed it */
    }
    return fail(ERR_FAILED, "%s: cannot be locked", show_path(path));
}

/* The next folder above, in place; false: there is none that could be made. */
static bool go_up(char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    path[n] = 0;
    return n > 0 && strcmp(path, "/") != 0;
}

static int make_above(char *path, int *made) {
    char above[PATH_MAX];
    snprintf(above, sizeof above, "%s", path);
    if (!go_up(above) || access(above, F_OK) == 0) return 0;
    int code = make_above(above, made);
    if (code) return code;
    if (mkdir(above, 0777) != 0 && errno != EEXIST)
        return fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: cannot be made: %s", show_path(above),
                    strerror(errno));
    ++*made;
    return 0;
}

int folder_make_above(const char *folder, int *made) {
    char path[PATH_MAX];
    *made = 0;
    if ((size_t)snprintf(path, sizeof path, "%s", folder) >= sizeof path)
        return fail(ERR_USAGE, "%s: the name is too long", show_path(folder));
    return make_above(path, made);
}

void folder_unmake(const char *folder, int made) {
    DIR *dir = opendir(folder);
    if (!dir) return;
    int others = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        others +=
            strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, "lock") != 0;
    bool gone = !others && unlinkat(dirfd(dir), "lock", 0) == 0 && rmdir(folder) == 0;
    closedir(dir);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", folder);
    while (gone && made-- > 0 && go_up(path)) gone = rmdir(path) == 0;
}
