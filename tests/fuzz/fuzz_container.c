/* Film containers: the walk over boxes and elements ends, and what it says is nothing or not less than is there to see.
 */
#include "data/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int file = -1;
    char path[64];
    int64_t bytes;
    if (file < 0) file = memfd_create("film", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int64_t announced = container_announced(path, &bytes);
    if (announced < 0 || bytes != (int64_t)size) abort();
    return 0;
}
