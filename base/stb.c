/* base/stb.c - the one place where stb is compiled. What is switched off and why is said in base/stb.h. */
#include "base/stb.h"
#include "base/mem.h"
#include "base/zip.h"

#include <limits.h>

/* stb_image_write asks for a zlib compressor in its PNG writer, which we do not use; this keeps its own out. */
static unsigned char *compress_zlib(unsigned char *data, int size, int *made, int quality) {
    (void)quality;
    size_t bytes = 0;
    uint8_t *out = size < 0 ? NULL : deflate_zlib(data, (size_t)size, &bytes);
    if (out && bytes > INT_MAX) {
        mem_free(out);
        return NULL;
    }
    *made = (int)bytes;
    return out;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"

#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 32768
#define STBI_ASSERT(x) ((void)(x))
#define STBI_MALLOC(bytes) mem_alloc(bytes)
#define STBI_REALLOC_SIZED(block, had, bytes) mem_grow(block, bytes)
#define STBI_REALLOC(block, bytes) mem_grow(block, bytes)
#define STBI_FREE(block) mem_free(block)
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#define STBI_WRITE_NO_STDIO
#define STBIW_ZLIB_COMPRESS compress_zlib
#define STBIW_MALLOC(bytes) mem_alloc(bytes)
#define STBIW_REALLOC_SIZED(block, had, bytes) mem_grow(block, bytes)
#define STBIW_REALLOC(block, bytes) mem_grow(block, bytes)
#define STBIW_FREE(block) mem_free(block)
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#pragma GCC diagnostic pop
