#include "base/zip.h"
#include "base/deflate.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/names.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* APPNOTE.TXT 6.3: records, their signatures and fixed sizes. */
enum { LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50 };
enum { LOCAL_SIZE = 30, CENTRAL_SIZE = 46, END_SIZE = 22, END64_SIZE = 56, LOCATOR64_SIZE = 20, EXTRA64 = 1 };
enum {
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8,
    FLAG_PATCH = 32,
    FLAG_STRONG = 64,
    FLAG_UTF8 = 2048,
    FLAG_MASKED = 8192
};

static uint16_t u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}
static uint32_t u32(const uint8_t *p) {
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}
static uint64_t u64(const uint8_t *p) {
    return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32;
}

struct Zip {
    const uint8_t *bytes;
    size_t size;
    int code;
    Arena *arena;
    ZipEntry *entries;
    uint64_t *local; /* where each entry's local header is */
    IndexedName *names;
    int count;
};

static int refuse(const Zip *zip, const char *name, const char *why) {
    char text[128];
    return fail((ErrCode)zip->code, "zip entry \"%s\" %s", err_printable(text, sizeof text, name), why);
}

/* The directory: where it is and how many entries it has. */
typedef struct {
    uint64_t offset, size, count, end; /* `end`: where the next record starts */
} Directory;

static int find_directory(const Zip *zip, Directory *directory) {
    ErrCode code = (ErrCode)zip->code;
    if (zip->size < END_SIZE) return fail(code, "too short for a zip archive (%zu bytes)", zip->size);
    size_t at = zip->size - END_SIZE, lowest = at > 65535 ? at - 65535 : 0;
    while (u32(zip->bytes + at) != END || at + END_SIZE + u16(zip->bytes + at + 20) != zip->size) {
        if (at-- == lowest)
            return fail(code,
                        "zip archive without an end record: the file is cut short, or something follows the archive");
    }
    const uint8_t *end = zip->bytes + at;
    if (u16(end + 20)) /* a comment could hold a second archive */
        return fail(code, "zip archive with a comment of %u bytes at %zu: not read", u16(end + 20), at + END_SIZE);
    if ((u16(end + 4) | u16(end + 6)) != 0 && u16(end + 4) != 0xffff)
        return fail(code, "zip archive in several parts: not read");
    *directory = (Directory){.offset = u32(end + 16), .size = u32(end + 12), .count = u16(end + 10), .end = at};
    const uint8_t *locator = at >= LOCATOR64_SIZE ? end - LOCATOR64_SIZE : NULL;
    bool wants64 = directory->offset == UINT32_MAX || directory->size == UINT32_MAX || directory->count == UINT16_MAX;
    if (locator && u32(locator) == LOCATOR64) {
        uint64_t at64 = u64(locator + 8);
        if (at64 > at - LOCATOR64_SIZE || at - LOCATOR64_SIZE - at64 < END64_SIZE || u32(zip->bytes + at64) != END64)
            return fail(code, "the zip64 locator at %zu points to %llu, where no zip64 record is", at - LOCATOR64_SIZE,
                        (unsigned long long)at64);
        const uint8_t *end64 = zip->bytes + at64;
        if (u64(end64 + 4) != at - LOCATOR64_SIZE - at64 - 12)
            return fail(code, "the zip64 end record at %llu has a wrong length", (unsigned long long)at64);
        Directory big = {.offset = u64(end64 + 48), .size = u64(end64 + 40), .count = u64(end64 + 32), .end = at64};
        if ((directory->offset != UINT32_MAX && directory->offset != big.offset) ||
            (directory->size != UINT32_MAX && directory->size != big.size) ||
            (directory->count != UINT16_MAX && directory->count != big.count))
            return fail(code, "the zip and zip64 end records at %zu contradict each other", at);
        *directory = big;
    } else if (wants64 && directory->offset == UINT32_MAX) {
        return fail(code, "the zip64 end record is missing");
    }
    if (directory->offset > directory->end || directory->size != directory->end - directory->offset)
        return fail(code, "the zip directory (%llu bytes at %llu) does not end where the end record at %llu starts",
                    (unsigned long long)directory->size, (unsigned long long)directory->offset,
                    (unsigned long long)directory->end);
    if (directory->count > directory->size / CENTRAL_SIZE)
        return fail(code, "the zip directory claims %llu entries but has room for %llu",
                    (unsigned long long)directory->count, (unsigned long long)(directory->size / CENTRAL_SIZE));
    if (directory->count > ZIP_ENTRIES_MAX)
        return fail(code, "zip archive with %llu entries, %d are read", (unsigned long long)directory->count,
                    ZIP_ENTRIES_MAX);
    return 0;
}

/* Fills in the 64-bit values of those of `fields` (in the order of APPNOTE 4.5.3) that are all ones. False if absent.
 */
static bool read_extra64(const uint8_t *extra, size_t bytes, uint64_t *fields[3]) {
    bool wanted = false;
    for (int i = 0; i < 3; i++) wanted = wanted || (fields[i] && *fields[i] == UINT32_MAX);
    if (!wanted) return true;
    for (size_t at = 0; bytes - at >= 4;) {
        size_t size = u16(extra + at + 2);
        if (size > bytes - at - 4) return false;
        if (u16(extra + at) == EXTRA64) {
            const uint8_t *p = extra + at + 4;
            for (int i = 0; i < 3; i++) {
                if (!fields[i] || *fields[i] != UINT32_MAX) continue;
                if (size < 8) return false;
                *fields[i] = u64(p);
                p += 8;
                size -= 8;
            }
            return true;
        }
        at += 4 + size;
    }
    return false;
}

static const char *bad_name(const char *name, size_t bytes) {
    if (memchr(name, 0, bytes)) return "has a NUL in its name";
    if (name[0] == '/') return "has an absolute name";
    if (memchr(name, '\\', bytes)) return "has a backslash in its name";
    for (size_t start = 0; start <= bytes;) {
        const char *slash = memchr(name + start, '/', bytes - start);
        size_t end = slash ? (size_t)(slash - name) : bytes;
        if (end - start == 2 && name[start] == '.' && name[start + 1] == '.') return "has \"..\" in its name";
        start = end + 1;
    }
    return NULL;
}

/* One central record at *at; on success *at is behind it. */
static int read_central(Zip *zip, const Directory *directory, int index, uint64_t *at) {
    ErrCode code = (ErrCode)zip->code;
    uint64_t left = directory->end - *at;
    const uint8_t *p = zip->bytes + *at;
    if (left < CENTRAL_SIZE || u32(p) != CENTRAL)
        return fail(code, "entry %d of the zip directory is damaged at %llu", index, (unsigned long long)*at);
    size_t name_bytes = u16(p + 28), extra_bytes = u16(p + 30), comment_bytes = u16(p + 32);
    if (left - CENTRAL_SIZE < name_bytes + extra_bytes + comment_bytes)
        return fail(code, "entry %d of the zip directory reaches beyond it at %llu", index, (unsigned long long)*at);
    if (name_bytes == 0 || name_bytes > ZIP_NAME_MAX)
        return fail(code, "a zip entry's name at %llu has %zu bytes, 1 to %d are read", (unsigned long long)*at,
                    name_bytes, ZIP_NAME_MAX);
    char *name = arena_alloc(zip->arena, name_bytes + 1);
    if (!name) return (int)ERR_MEMORY;
    memcpy(name, p + CENTRAL_SIZE, name_bytes);
    const char *bad = bad_name(name, name_bytes);
    if (bad) return refuse(zip, name, bad);
    unsigned flags = u16(p + 8);
    ZipEntry *entry = &zip->entries[index];
    *entry =
        (ZipEntry){.name = name, .stored = u32(p + 20), .size = u32(p + 24), .crc = u32(p + 16), .method = u16(p + 10)};
    zip->local[index] = u32(p + 42);
    if (flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED)) return refuse(zip, name, "is encrypted");
    if (flags & FLAG_PATCH) return refuse(zip, name, "is a patch");
    if (entry->method != 0 && entry->method != 8) return refuse(zip, name, "is packed by a method that is not read");
    if (!read_extra64(p + CENTRAL_SIZE + name_bytes, extra_bytes,
                      (uint64_t *[3]){&entry->size, &entry->stored, &zip->local[index]}))
        return refuse(zip, name, "lacks its zip64 sizes");
    if (entry->method == 0 && entry->stored != entry->size)
        return refuse(zip, name, "is stored, yet has two different sizes");
    *at += CENTRAL_SIZE + name_bytes + extra_bytes + comment_bytes;
    return 0;
}

/* The local header has to say what the directory says; it tells where the data is. */
static int read_local(Zip *zip, const Directory *directory, int index) {
    ZipEntry *entry = &zip->entries[index];
    uint64_t at = zip->local[index];
    const uint8_t *p = zip->bytes + at;
    if (at > directory->offset || directory->offset - at < LOCAL_SIZE || u32(p) != LOCAL)
        return refuse(zip, entry->name, "points to a place without a local header");
    size_t name_bytes = u16(p + 26), extra_bytes = u16(p + 28);
    uint64_t left = directory->offset - at - LOCAL_SIZE;
    if (left < name_bytes + extra_bytes || left - name_bytes - extra_bytes < entry->stored)
        return refuse(zip, entry->name, "is longer than the file");
    if (name_bytes != strlen(entry->name) || memcmp(p + LOCAL_SIZE, entry->name, name_bytes) != 0)
        return refuse(zip, entry->name, "has another name in its local header");
    unsigned flags = u16(p + 6);
    if (u16(p + 8) != entry->method || (flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED | FLAG_PATCH)))
        return refuse(zip, entry->name, "has another method or encryption in its local header");
    uint64_t stored = u32(p + 18), size = u32(p + 22);
    uint32_t crc = u32(p + 14);
    bool streamed = (flags & FLAG_DESCRIPTOR) && crc == 0; /* sizes follow the data; the directory has them */
    if (!read_extra64(p + LOCAL_SIZE + name_bytes, extra_bytes, (uint64_t *[3]){&size, &stored, NULL}) && !streamed)
        return refuse(zip, entry->name, "lacks its zip64 sizes in the local header");
    bool same = crc == entry->crc && stored == entry->stored && size == entry->size;
    if (!same && !streamed) return refuse(zip, entry->name, "has other sizes or another checksum in its local header");
    entry->offset = at + LOCAL_SIZE + name_bytes + extra_bytes;
    return 0;
}

typedef struct {
    const char *name;
    uint64_t begin, end;
} Place;

static int order_by_place(const void *a, const void *b) {
    uint64_t x = ((const Place *)a)->begin, y = ((const Place *)b)->begin;
    return x < y ? -1 : x > y;
}

static int read_directory(Zip *zip) {
    Directory directory = {0};
    int rc = find_directory(zip, &directory);
    if (rc) return rc;
    zip->count = (int)directory.count;
    zip->arena = arena_make();
    zip->entries = mem_zero(directory.count, sizeof *zip->entries);
    zip->local = mem_zero(directory.count, sizeof *zip->local);
    zip->names = mem_zero(directory.count, sizeof *zip->names);
    if (!zip->arena || !zip->entries || !zip->local || !zip->names) return (int)ERR_MEMORY;
    uint64_t at = directory.offset;
    for (int i = 0; i < zip->count; i++) {
        if ((rc = read_central(zip, &directory, i, &at)) || (rc = read_local(zip, &directory, i))) return rc;
    }
    if (at != directory.end)
        return fail((ErrCode)zip->code, "the zip directory has %llu bytes after its last entry at %llu",
                    (unsigned long long)(directory.end - at), (unsigned long long)at);
    Place *places = mem_array(directory.count, sizeof *places);
    if (!places) return (int)ERR_MEMORY;
    for (int i = 0; i < zip->count; i++) {
        const ZipEntry *e = &zip->entries[i];
        places[i] = (Place){e->name, zip->local[i], e->offset + e->stored};
        zip->names[i] = (IndexedName){e->name, i};
    }
    if (zip->count) qsort(places, directory.count, sizeof *places, order_by_place);
    for (int i = 1; i < zip->count && !rc; i++)
        if (places[i].begin < places[i - 1].end) rc = refuse(zip, places[i].name, "overlaps another entry");
    mem_free(places);
    if (rc) return rc;
    names_sort(zip->names, zip->count);
    const char *twice = names_double(zip->names, zip->count);
    return twice ? refuse(zip, twice, "is there twice") : 0;
}

int zip_open(const uint8_t *bytes, size_t size, int code, Zip **out) {
    *out = NULL;
    Zip *zip = mem_zero(1, sizeof *zip);
    if (!zip) return (int)ERR_MEMORY;
    zip->bytes = bytes;
    zip->size = size;
    zip->code = code;
    int rc = read_directory(zip);
    if (rc)
        zip_close(zip);
    else
        *out = zip;
    return rc;
}

void zip_close(Zip *zip) {
    if (!zip) return;
    arena_drop(zip->arena);
    mem_free(zip->entries);
    mem_free(zip->local);
    mem_free(zip->names);
    mem_free(zip);
}

int zip_count(const Zip *zip) {
    return zip->count;
}

const ZipEntry *zip_entry(const Zip *zip, int index) {
    BUG_IF(index < 0 || index >= zip->count, "zip_entry %d of %d", index, zip->count);
    return &zip->entries[index];
}

const ZipEntry *zip_find(const Zip *zip, const char *name) {
    int index = names_find(zip->names, zip->count, name);
    return index < 0 ? NULL : &zip->entries[index];
}

int zip_read(const Zip *zip, const ZipEntry *entry, size_t limit, uint8_t **bytes) {
    *bytes = NULL;
    char name[128];
    err_printable(name, sizeof name, entry->name);
    if (entry->size > limit)
        return fail((ErrCode)zip->code, "zip entry \"%s\" would unpack to %llu bytes, the limit is %zu", name,
                    (unsigned long long)entry->size, limit);
    if (entry->size > ZIP_SMALL && entry->size / ZIP_RATIO_MAX > entry->stored)
        return fail((ErrCode)zip->code,
                    "zip entry \"%s\" would unpack from %llu to %llu bytes, more than %d times as much", name,
                    (unsigned long long)entry->stored, (unsigned long long)entry->size, ZIP_RATIO_MAX);
    size_t size = (size_t)entry->size;
    uint8_t *out = mem_alloc(size);
    if (!out) return (int)ERR_MEMORY;
    const uint8_t *data = zip->bytes + entry->offset;
    int rc = 0;
    if (entry->method == 0) {
        if (size) memcpy(out, data, size);
    } else if (!inflate_raw(data, (size_t)entry->stored, out, size)) {
        rc = fail((ErrCode)zip->code,
                  "zip entry \"%s\" at %llu is damaged: it does not unpack to the %llu bytes promised", name,
                  (unsigned long long)entry->offset, (unsigned long long)entry->size);
    }
    if (!rc && crc32_update(0, out, size) != entry->crc)
        rc = fail((ErrCode)zip->code, "zip entry \"%s\" at %llu is damaged: its checksum is wrong", name,
                  (unsigned long long)entry->offset);
    if (rc)
        mem_free(out);
    else
        *bytes = out;
    return rc;
}

/* ---- writing ---- */

typedef struct {
    char *name;
    uint64_t local, stored, size;
    uint32_t crc;
    uint16_t method;
} Written;

struct ZipOut {
    Out *out;
    uint64_t at;
    Arena *arena;
    Written *entries;
    size_t count, room;
    int rc;
};

/* A record being put together, little endian. */
typedef struct {
    uint8_t bytes[128];
    size_t used;
} Record;

static void put(Record *record, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) record->bytes[record->used++] = (uint8_t)(value >> 8 * i);
}

static int emit(ZipOut *zip, const void *data, size_t bytes) {
    if (!zip->rc) zip->rc = out_write(zip->out, data, bytes);
    zip->at += bytes;
    return zip->rc;
}

int zip_out_begin(Out *out, ZipOut **zip) {
    *zip = mem_zero(1, sizeof **zip);
    if (!*zip) return (int)ERR_MEMORY;
    (*zip)->out = out;
    (*zip)->arena = arena_make();
    if ((*zip)->arena) return 0;
    mem_free(*zip);
    *zip = NULL;
    return (int)ERR_MEMORY;
}

static uint32_t narrow(uint64_t value) {
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* What local and central header share, from "version needed" to the length of the name. Dates are the first of
 * January 1980, so that equal content makes equal files. */
static void put_common(Record *record, const Written *entry, bool big) {
    put(record, big ? 45 : 20, 2);
    put(record, FLAG_UTF8, 2);
    put(record, entry->method, 2);
    put(record, 0, 2);
    put(record, 1 << 5 | 1, 2);
    put(record, entry->crc, 4);
    put(record, big ? UINT32_MAX : entry->stored, 4);
    put(record, big ? UINT32_MAX : entry->size, 4);
    put(record, strlen(entry->name), 2);
}

static bool is_big(const Written *entry) {
    return entry->size >= UINT32_MAX || entry->stored >= UINT32_MAX;
}

int zip_out_add(ZipOut *zip, const char *name, const void *data, size_t bytes, bool deflate) {
    if (zip->rc) return zip->rc;
    size_t name_bytes = strlen(name);
    BUG_IF(name_bytes == 0 || name_bytes > ZIP_NAME_MAX || bad_name(name, name_bytes), "zip entry name \"%s\"", name);
    if (zip->count >= ZIP_ENTRIES_MAX)
        return zip->rc = fail(ERR_LIMITS, "more than %d entries in a zip archive", ZIP_ENTRIES_MAX);
    if (zip->count == zip->room) {
        size_t room = zip->room ? 2 * zip->room : 16;
        Written *grown = mem_grow(zip->entries, room * sizeof *grown);
        if (!grown) return zip->rc = (int)ERR_MEMORY;
        zip->entries = grown;
        zip->room = room;
    }
    Written *entry = &zip->entries[zip->count];
    *entry = (Written){.local = zip->at, .stored = bytes, .size = bytes, .crc = crc32_update(0, data, bytes)};
    if (!(entry->name = arena_text(zip->arena, name))) return zip->rc = (int)ERR_MEMORY;
    uint8_t *packed = NULL;
    if (deflate) {
        size_t packed_bytes;
        if (!(packed = deflate_raw(data, bytes, &packed_bytes))) return zip->rc = (int)ERR_MEMORY;
        if (packed_bytes < bytes) {
            entry->method = 8;
            entry->stored = packed_bytes;
        }
    }
    zip->count++;
    bool big = is_big(entry);
    Record record = {.used = 0};
    put(&record, LOCAL, 4);
    put_common(&record, entry, big);
    put(&record, big ? 20 : 0, 2);
    emit(zip, record.bytes, record.used);
    emit(zip, name, name_bytes);
    if (big) {
        record.used = 0;
        put(&record, EXTRA64, 2);
        put(&record, 16, 2);
        put(&record, entry->size, 8);
        put(&record, entry->stored, 8);
        emit(zip, record.bytes, record.used);
    }
    emit(zip, entry->method ? packed : data, (size_t)entry->stored);
    mem_free(packed);
    return zip->rc;
}

static void put_central(ZipOut *zip, const Written *entry) {
    bool big = is_big(entry), far = entry->local >= UINT32_MAX;
    size_t extra = (big ? 16u : 0u) + (far ? 8u : 0u);
    Record record = {.used = 0};
    put(&record, CENTRAL, 4);
    put(&record, 3 << 8 | 45, 2); /* made on Unix by a writer of version 4.5 */
    put_common(&record, entry, big);
    put(&record, extra ? extra + 4 : 0, 2);
    put(&record, 0, 2);                       /* comment */
    put(&record, 0, 2);                       /* disk */
    put(&record, 0, 2);                       /* internal attributes */
    put(&record, (uint32_t)0100644 << 16, 4); /* a plain file, rw-r--r-- */
    put(&record, narrow(entry->local), 4);
    emit(zip, record.bytes, record.used);
    emit(zip, entry->name, strlen(entry->name));
    if (!extra) return;
    record.used = 0;
    put(&record, EXTRA64, 2);
    put(&record, extra, 2);
    if (big) {
        put(&record, entry->size, 8);
        put(&record, entry->stored, 8);
    }
    if (far) put(&record, entry->local, 8);
    emit(zip, record.bytes, record.used);
}

int zip_out_end(ZipOut **out) {
    ZipOut *zip = *out;
    if (!zip) return 0;
    uint64_t begin = zip->at;
    for (size_t i = 0; i < zip->count && !zip->rc; i++) put_central(zip, &zip->entries[i]);
    uint64_t size = zip->at - begin;
    Record record = {.used = 0};
    if (begin >= UINT32_MAX || size >= UINT32_MAX || zip->count >= UINT16_MAX) {
        uint64_t at64 = zip->at;
        put(&record, END64, 4);
        put(&record, END64_SIZE - 12, 8);
        put(&record, 3 << 8 | 45, 2);
        put(&record, 45, 2);
        put(&record, 0, 8); /* disks */
        put(&record, zip->count, 8);
        put(&record, zip->count, 8);
        put(&record, size, 8);
        put(&record, begin, 8);
        put(&record, LOCATOR64, 4);
        put(&record, 0, 4);
        put(&record, at64, 8);
        put(&record, 1, 4);
    }
    uint64_t count = zip->count < UINT16_MAX ? zip->count : UINT16_MAX;
    put(&record, END, 4);
    put(&record, 0, 4);
    put(&record, count, 2);
    put(&record, count, 2);
    put(&record, narrow(size), 4);
    put(&record, narrow(begin), 4);
    put(&record, 0, 2);
    emit(zip, record.bytes, record.used);
    int rc = zip->rc;
    mem_free(zip->entries);
    arena_drop(zip->arena);
    mem_free(zip);
    *out = NULL;
    return rc;
}
