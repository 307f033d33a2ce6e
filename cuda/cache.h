/* cuda/cache.h - compiled kernels kept on disk, by what they were made of.
 *
 * A file is named by a hash over everything that decides its contents: format, architecture, options, definitions, the
 * text and all headers, and NVRTC's version and the very library. It holds its own hash, so that a damaged or foreign
 * file is not used but made anew; it appears whole or not at all, so that processes may race. A folder that is not
 * ours, or that others may write to, is not used: what lies there runs on the GPU with our rights. The folder may be
 * deleted at any time. */
#ifndef PANUM_CUDA_CACHE_H
#define PANUM_CUDA_CACHE_H
#include "cuda/nvrtc.h"

/* What a file holds: compiled code, or the word on how a device did (apps/lib/device.h). */
typedef enum { CACHE_KERNEL, CACHE_VERDICT } CacheKind;
typedef struct {
    char hex[65];
    CacheKind kind;
} CacheKey;
CacheKey cache_key(const Nvrtc *nvrtc, const GpuSource *source, int arch, CompileCare care);

/* Makes the folder, with its parents, for us alone. false, and nothing else happens: there is no cache. NULL too. */
bool cache_usable(const char *folder);
bool cache_has(const char *folder, const CacheKey *key); /* without looking inside */
/* The code, the caller's (mem_free); false: it is not there, or not to be trusted. */
bool cache_read(const char *folder, const CacheKey *key, void **code, size_t *bytes);
/* What cannot be kept is not: the next process compiles again. */
void cache_write(const char *folder, const CacheKey *key, const void *code, size_t bytes);

/* What stays: so many bytes in all, of files that somebody has used within so many seconds. Use is known to a day. */
typedef struct {
    int64_t bytes, seconds;
} CacheLimits;
extern const CacheLimits cache_limits; /* 256 MiB, 180 days: kept to whenever kernels have been compiled */
typedef struct {
    int64_t files, bytes;
} CacheSum;
/* Removes what is beyond the limits, those first that have not been used for longest; limits of 0 remove all, NULL
 * nothing. Only files that this header's names are for and that are ours: whatever else lies there stays. Sums of what
 * stays and of what went; either may be NULL. */
void cache_prune(const char *folder, const CacheLimits *limits, CacheSum *stay, CacheSum *gone);
#endif
