/* base/stb.h - what we use of stb_image 2.27 and stb_image_write (Debian's libstb-dev): the JPEG decoder from memory
 * and the JPEG encoder. Compiled once, in base/stb.c, without stdio and without the other formats (PNG is data/png.c).
 *
 * Version 2.27 has memory errors on hostile JPEG: nothing may reach the decoder before the caller has checked headers,
 * tables and sizes itself, nor outside mem_cap_begin/mem_cap_end.
 * Memory is mem_alloc's: free results with mem_free. */
#ifndef PANUM_BASE_STB_H
#define PANUM_BASE_STB_H
#include <stdint.h>

/* Samples interleaved, rows top down; *channels is what the file holds, `wanted` (0 as in file, 1 grey, 3 RGB) what is
 * returned. NULL on failure, with the reason in stbi_failure_reason(). */
unsigned char *stbi_load_from_memory(const unsigned char *bytes, int size, int *width, int *height, int *channels,
                                     int wanted);
const char *stbi_failure_reason(void);

/* Baseline JPEG, handed piecewise to write(context, ...). Quality 1..100; above 90 chroma keeps its full size.
 * 0 on failure. */
int stbi_write_jpg_to_func(void (*write)(void *context, void *data, int size), void *context, int width, int height,
                           int channels, const void *samples, int quality);
#endif
