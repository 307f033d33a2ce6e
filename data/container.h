/* data/container.h - how long a film's file is by its own header: a copy or download that broke off is known by that
 * before anything of it is decoded, and whatever a decoder makes of its end.
 *
 * Read: the top-level boxes of MP4 and MOV, the segment of Matroska and WebM, the first list of AVI. */
#ifndef PANUM_DATA_CONTAINER_H
#define PANUM_DATA_CONTAINER_H
#include <stdint.h>

/* Bytes that the file's header announces in all, of which *bytes are there. 0: it announces nothing (another format; a
 * live recording, whose length nobody knew when its header was written), or cannot be read. */
int64_t container_announced(const char *path, int64_t *bytes);
#endif
