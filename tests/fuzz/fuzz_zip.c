/* An archive is refused with a reason, or every entry lies inside the file, reads or is refused, and written again
 * reads as the same. */
#include "base/err.h"
#include "base/mem.h"
#include "base/zip.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void write_again(const ZipEntry *entry, const uint8_t *bytes) {
    Out *out = NULL;
    ZipOut *writer = NULL;
    uint8_t *archive = NULL, *again = NULL;
    size_t archive_size = 0;
    Zip *second = NULL;
    demand(out_memory(&out) == 0 && zip_out_begin(out, &writer) == 0);
    demand(zip_out_add(writer, entry->name, bytes, (size_t)entry->size, true) == 0);
    demand(zip_out_add(writer, "another/name", bytes, (size_t)entry->size, false) == 0);
    demand(zip_out_end(&writer) == 0 && out_memory_take(&out, &archive, &archive_size) == 0);
    if (strcmp(entry->name, "another/name") != 0) {
        demand(zip_open(archive, archive_size, ERR_INPUT, &second) == 0 && zip_count(second) == 2);
        const ZipEntry *found = zip_find(second, entry->name);
        demand(found && zip_read(second, found, (size_t)entry->size, &again) == 0);
        demand(memcmp(again, bytes, (size_t)entry->size) == 0);
        mem_free(again);
        zip_close(second);
    }
    mem_free(archive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Zip *zip;
    err_clear();
    if (zip_open(data, size, ERR_INPUT, &zip)) {
        demand(!zip && *err_sentence());
        return 0;
    }
    size_t left = (size_t)1 << 22;
    for (int i = 0; i < zip_count(zip); i++) {
        const ZipEntry *entry = zip_entry(zip, i);
        uint8_t *bytes;
        demand(entry->offset <= size && entry->stored <= size - entry->offset);
        demand(zip_find(zip, entry->name) == entry);
        if (entry->size > left) continue;
        left -= (size_t)entry->size;
        err_clear();
        if (zip_read(zip, entry, 1 << 20, &bytes) == 0) {
            write_again(entry, bytes);
            mem_free(bytes);
        } else {
            demand(!bytes && *err_sentence());
        }
    }
    zip_close(zip);
    return 0;
}
