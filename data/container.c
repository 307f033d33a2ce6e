#include "data/container.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ITEMS_MAX = 1 << 20 }; /* boxes looked at: a film cut into fragments of a second has 7,200 in two hours */

typedef struct {
    int file;
    int64_t size;
} Source;

static bool read_at(const Source *s, int64_t at, void *bytes, size_t count) {
    ssize_t n;
    do n = pread(s->file, bytes, count, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n >= 0 && (size_t)n == count;
}

static uint64_t big_endian(const uint8_t *bytes, int count) {
    uint64_t v = 0;
    for (int i = 0; i < count; i++) v = v << 8 | bytes[i];
    return v;
}

/* Boxes (ISO 14496-12): 32 bits of size, four letters; size 1: 64 bits of size follow; size 0: up to the end. The walk
 * ends without an answer at letters that are no top-level box: what follows a film's last box may be anything. */
static int64_t boxes_end(const Source *s) {
    static const char known[] = "ftyp moov mdat free skip wide uuid meta moof mfra sidx ssix styp emsg prft pnot udta ";
    int64_t at = 0;
    for (int i = 0; i < ITEMS_MAX && at < s->size; i++) {
        uint8_t head[16];
        char letters[6] = "";
        if (!read_at(s, at, head, 8)) return 0;
        memcpy(letters, head + 4, 4);
        letters[4] = ' ';
        if (memchr(letters, 0, 4) || memchr(letters, ' ', 4) || !strstr(known, letters)) return 0;
        uint64_t size = big_endian(head, 4), least = 8;
        if (size == 0) return 0;
        if (size == 1) {
            if (!read_at(s, at + 8, head + 8, 8)) return 0;
            size = big_endian(head + 8, 8);
            least = 16;
        }
        if (size < least || size > (uint64_t)(INT64_MAX - at)) return 0;
        at += (int64_t)size;
    }
    return at >= s->size ? at : 0;
}

/* A number of EBML (RFC 8794): as many bytes as its first one has leading zero bits, and one. `keep_mark`: identifiers
 * are written with the bit that says so. 0 for none that fits, and for "not known". */
static uint64_t ebml_number(const uint8_t *bytes, int have, bool keep_mark, int *length) {
    int n = 1;
    while (n <= 8 && !(bytes[0] & (0x80 >> (n - 1)))) n++;
    *length = n;
    if (n > 8 || n > have) return 0;
    uint64_t v = big_endian(bytes, n), mark = (uint64_t)1 << (7 * n);
    if (keep_mark) return v;
    return v == 2 * mark - 1 ? 0 : v & (mark - 1);
}

/* The header, maybe some Void, then the segment, which holds everything. */
static int64_t segment_end(const Source *s) {
    enum { HEADER = 0x1a45dfa3, SEGMENT = 0x18538067, VOID = 0xec };
    int64_t at = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t head[12];
        int id_length, size_length;
        if (!read_at(s, at, head, sizeof head)) return 0;
        uint64_t id = ebml_number(head, 4, true, &id_length);
        if (id != HEADER && id != SEGMENT && id != VOID) return 0;
        uint64_t size = ebml_number(head + id_length, (int)sizeof head - id_length, false, &size_length);
        at += id_length + size_length;
        if (size == 0 || size > (uint64_t)(INT64_MAX - at)) return 0;
        at += (int64_t)size;
        if (id == SEGMENT) return at;
    }
    return 0;
}

static int64_t list_end(const uint8_t head[12]) {
    uint32_t size = (uint32_t)head[4] | (uint32_t)head[5] << 8 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 24;
    return size == 0 || size >= 0xfffffff7u ? 0 : (int64_t)size + 8;
}

int64_t container_announced(const char *path, int64_t *bytes) {
    struct stat st;
    uint8_t head[12];
    *bytes = 0;
    Source s = {.file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (s.file < 0) return 0;
    int64_t announced = 0;
    if (fstat(s.file, &st) == 0 && S_ISREG(st.st_mode)) {
        *bytes = s.size = (int64_t)st.st_size;
        if (read_at(&s, 0, head, sizeof head)) {
            if (memcmp(head, "\x1a\x45\xdf\xa3", 4) == 0)
                announced = segment_end(&s);
            else if (memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "AVI ", 4) == 0)
                announced = list_end(head);
            else
                announced = boxes_end(&s);
        }
    }
    close(s.file);
    return announced;
}
