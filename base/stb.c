/* base/stb.c - the one place where stb is compiled. What is switched off and why is said in base/stb.h. */
#include "base/stb.h"
#include "base/mem.h"

/* stb_image_write's PNG writer, which nothing calls, asks for a compressor; this keeps stb's own out, which overruns
 * its buffer when an allocation fails. */
static unsigned char *no_compressor(unsigned char *data, int size, int *made, int quality) {
    (void)data, (void)size, (void)made, (void)quality;
    return NULL;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"

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
#define STBIW_ZLIB_COMPRESS no_compressor
#define STBIW_MALLOC(bytes) mem_alloc(bytes)
#define STBIW_REALLOC_SIZED(block, had, bytes) mem_grow(block, bytes)
#define STBIW_REALLOC(block, bytes) mem_grow(block, bytes)
#define STBIW_FREE(block) mem_free(block)
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#pragma GCC diagnostic pop
