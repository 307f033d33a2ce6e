/* tests/bad/faults.c - a libc whose calls fail when they are told to, for LD_PRELOAD.
 *
 * FAULT="CALL N ERROR": the N-th call of CALL (write, fsync, rename, close, mmap, pthread_create) fails with that
 * number of errno; a negative N means that one and all later ones. ERROR 0 of write means that it takes half of what it
 * is given; below 0 it is a signal that comes before the call. Only regular files count, and of mmap only mappings of
 * files: what people read is not what is tested. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_due(const char *call, int *error) {
    static atomic_int calls;
    static char name[32];
    static int number, wanted;
    const char *fault = getenv("FAULT");
    if (!fault) return false;
    if (!name[0] && sscanf(fault, "%31s %d %d", name, &number, &wanted) != 3) abort();
    if (strcmp(name, call) != 0) return false;
    int n = ++calls;
    *error = wanted;
    bool due = number < 0 ? n >= -number : n == number;
    if (due && wanted < 0) raise(-wanted);
    return due;
}

static bool is_regular(int file) {
    struct stat st;
    return fstat(file, &st) == 0 && S_ISREG(st.st_mode);
}

/* The libc's own function of the same name. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t size) {
    int error;
    if (is_regular(file) && is_due("write", &error)) {
        if (error == 0) return REAL(write)(file, bytes, size > 1 ? size / 2 : size);
        errno = error;
        return -1;
    }
    return REAL(write)(file, bytes, size);
}

int fsync(int file) {
    int error;
    if (is_regular(file) && is_due("fsync", &error)) return errno = error, -1;
    return REAL(fsync)(file);
}

int rename(const char *from, const char *to) {
    int error;
    if (is_due("rename", &error)) return errno = error, -1;
    return REAL(rename)(from, to);
}

int close(int file) {
    int error;
    if (is_regular(file) && is_due("close", &error)) {
        REAL(close)(file);
        return errno = error, -1;
    }
    return REAL(close)(file);
}

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
    int error;
    if (file >= 0 && is_due("mmap", &error)) return errno = error, MAP_FAILED;
    return REAL(mmap)(at, size, protection, flags, file, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int error;
    if (is_due("pthread_create", &error)) return error;
    return REAL(pthread_create)(thread, attributes, start, argument);
}
