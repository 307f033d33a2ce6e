/* base/zip.h - zip archives (zip64 too) from and into memory.
 * Reading goes only through the central directory, each entry's local header is cross-checked; comments, overlapping
 * entries, two entries of one name, encryption, and names with "..", "\\", a leading "/" or NUL are refused. */
#ifndef PANUM_BASE_ZIP_H
#define PANUM_BASE_ZIP_H
#include "base/file.h"

enum { ZIP_ENTRIES_MAX = 65536, ZIP_NAME_MAX = 1024, ZIP_RATIO_MAX = 1000 };
#define ZIP_SMALL ((size_t)64 << 20) /* up to here an entry may unpack to more than ZIP_RATIO_MAX times its size */

typedef struct {
    const char *name; /* in the archive's arena */
    uint64_t offset;  /* of the data in the file */
    uint64_t stored;  /* bytes in the file */
    uint64_t size;    /* bytes when unpacked */
    uint32_t crc;
    uint16_t method; /* 0 stored, 8 deflate */
} ZipEntry;

typedef struct Zip Zip;
/* `bytes` must outlive the Zip. `code` is ERR_INPUT or ERR_WEIGHTS: what kind of failure a bad archive is to the
 * caller. */
int zip_open(const uint8_t *bytes, size_t size, int code, Zip **zip);
void zip_close(Zip *zip);
int zip_count(const Zip *zip);
const ZipEntry *zip_entry(const Zip *zip, int index);
const ZipEntry *zip_find(const Zip *zip, const char *name); /* NULL when absent */
/* Unpacks (or copies) an entry and checks its crc; at most `limit` bytes, and above ZIP_SMALL at most ZIP_RATIO_MAX
 * times the stored size. */
int zip_read(const Zip *zip, const ZipEntry *entry, size_t limit, uint8_t **bytes); /* mem_free */

/* Writing: entries are stored or deflated, zip64 where needed, then the directory. */
typedef struct ZipOut ZipOut;
int zip_out_begin(Out *out, ZipOut **zip);
int zip_out_add(ZipOut *zip, const char *name, const void *data, size_t bytes, bool deflate);
int zip_out_end(ZipOut **zip); /* writes the directory; frees in any case; the Out stays the caller's */
#endif
