/* tests/fuzz/memory_file.h - bytes as a file with a name, for parsers that open what they read: the file lies in memory
 * and is written anew for every input. */
#ifndef PANUM_TESTS_FUZZ_MEMORY_FILE_H
#define PANUM_TESTS_FUZZ_MEMORY_FILE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *memory_file(const uint8_t *data, size_t size) {
    static int file = -1;
    static char name[64];
    if (file < 0) {
        file = memfd_create("input", MFD_CLOEXEC);
        if (file < 0) abort();
        snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    }
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) abort();
    return name;
}
#endif
