#include "cuda/kept.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cuda/texts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
const KeptKernel kept_kernels[] = {
    {"cuda/kernels/attention.cu", NULL},
    {"cuda/kernels/attention.cu", KEPT_REGION},
    {"cuda/kernels/attention_back.cu", NULL},
    {"cuda/kernels/box.cu", NULL},
    {"cuda/kernels/conv.cu", NULL},
    {"cuda/kernels/conv.cu", KEPT_REGION},
    {"cuda/kernels/convex.cu", NULL},
    {"cuda/kernels/lookup.cu", NULL},
    {"cuda/kernels/matmul.cu", NULL},
    {"cuda/kernels/matmul.cu", KEPT_REGION},
    {"cuda/kernels/move.cu", NULL},
    {"cuda/kernels/norm.cu", NULL},
    {"cuda/kernels/optimiser.cu", NULL},
    {"cuda/kernels/reduce.cu", NULL},
    {"cuda/kernels/region.cu", KEPT_REGION},
    {"cuda/kernels/resample.cu", NULL},
    {"cuda/kernels/rows.cu", NULL},
    {"cuda/kernels/rows.cu", KEPT_REGION},
    {"cuda/kernels/rows_gradient.cu", NULL},
    {"cuda/kernels/rows_gradient.cu", KEPT_REGION},
    {"cuda/kernels/sample.cu", NULL},
    {"cuda/kernels/transport.cu", KEPT_PLAIN},
    {"cuda/kernels/transport_gradient.cu", KEPT_PLAIN},
    {"cuda/kernels/warp.cu", NULL},
    {"cuda/kernels/weight_gradient.cu", NULL},
};
/* clang-format on */
const int kept_count = sizeof kept_kernels / sizeof *kept_kernels;

/* ---- keys ---- */

static const char *header_of(const GpuSource *source, const char *name, size_t length) {
    for (int i = 0; i < source->headers; i++)
        if (strlen(source->header_name[i]) == length && !memcmp(source->header_name[i], name, length))
            return source->header_text[i];
    return NULL;
}

/* Marks the headers that `text` includes, and those that they include. */
static void mark(const GpuSource *source, const char *text, bool *used) {
    static const char word[] = "#include \"";
    for (const char *at = text; (at = strstr(at, word)) != NULL;) {
        at += sizeof word - 1;
        const char *header = header_of(source, at, strcspn(at, "\""));
        for (int i = 0; i < source->headers; i++) {
            if (source->header_text[i] != header || used[i]) continue;
            used[i] = true;
            mark(source, header, used);
        }
    }
}

static void add_text(Sha256 *hash, const char *text) {
    sha256_add(hash, text, strlen(text) + 1);
}

KeptKey kept_key(const GpuSource *source) {
    bool used[GPU_HEADERS_MAX] = {false};
    uint8_t digest[32];
    KeptKey key;
    Sha256 hash;
    mark(source, source->text, used);
    sha256_begin(&hash);
    add_text(&hash, "PTX 8.0 for compute_75");
    add_text(&hash, source->define ? source->define : "");
    add_text(&hash, source->name);
    add_text(&hash, source->text);
    for (int i = 0; i < source->headers; i++)
        if (used[i]) add_text(&hash, source->header_text[i]);
    sha256_end(&hash, digest);
    sha256_hex(digest, key.hex);
    return key;
}

/* ---- the file: a line that says what it is, a line of key and bytes for each text, and all texts, deflated ---- */

static const char title[] = "panum kept kernels 1";

uint8_t *kept_pack(const char *const *ptx, size_t *bytes) {
    char *all = NULL, *head = NULL;
    size_t size = 0, head_size = 0, packed_size = 0;
    FILE *texts = open_memstream(&all, &size), *lines = open_memstream(&head, &head_size);
    if (!texts || !lines) return NULL;
    fprintf(lines, "%s %d\n", title, kept_count);
    for (int i = 0; i < kept_count; i++) {
        GpuSource source = cuda_kernel_source(kept_kernels[i].file, kept_kernels[i].define);
        fprintf(lines, "%s %zu\n", kept_key(&source).hex, strlen(ptx[i]) + 1);
        fwrite(ptx[i], 1, strlen(ptx[i]) + 1, texts);
    }
    bool whole = fclose(texts) == 0;
    whole = fclose(lines) == 0 && whole;
    uint8_t *packed = whole ? deflate_raw((const uint8_t *)all, size, &packed_size) : NULL;
    uint8_t *file = packed ? mem_alloc(head_size + packed_size) : NULL;
    if (file) {
        memcpy(file, head, head_size);
        memcpy(file + head_size, packed, packed_size);
        *bytes = head_size + packed_size;
    }
    mem_free(packed);
    free(all), free(head);
    return file;
}

extern const uint8_t cuda_kept[]; /* cuda/kept.ptx.z, by tools/embed.sh */
extern const size_t cuda_kept_bytes;

enum { KEPT_MOST = 128 };
typedef struct {
    char *text; /* all, once they are unpacked */
    KeptKey key[KEPT_MOST];
    size_t at[KEPT_MOST];
    int count;
} Kept;

static void unpack(Kept *kept) {
    const char *at = (const char *)cuda_kept, *end = at + cuda_kept_bytes;
    char line[100];
    size_t all = 0, bytes;
    int count = 0;
    for (int i = -1; i < count; i++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop || (size_t)(stop - at) >= sizeof line) return;
        snprintf(line, sizeof line, "%.*s", (int)(stop - at), at);
        at = stop + 1;
        if (i < 0) {
            if (strncmp(line, title, sizeof title - 1) != 0 || sscanf(line + sizeof title - 1, "%d", &count) != 1 ||
                count < 0 || count > KEPT_MOST)
                return;
            continue;
        }
        if (sscanf(line, "%64s %zu", kept->key[i].hex, &bytes) != 2) return;
        kept->at[i] = all;
        all += bytes;
    }
    kept->text = mem_alloc(all + 1);
    if (!kept->text) return;
    if (inflate_raw((const uint8_t *)at, (size_t)(end - at), (uint8_t *)kept->text, all)) {
        kept->count = count;
        return;
    }
    mem_free(kept->text);
    kept->text = NULL;
}

const char *kept_find(const GpuSource *source) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static Kept kept; /* some MB, unpacked when first asked for, until the end */
    pthread_mutex_lock(&mutex);
    if (!kept.text) unpack(&kept);
    pthread_mutex_unlock(&mutex);
    const KeptKey key = kept_key(source);
    for (int i = 0; i < kept.count; i++)
        if (!strcmp(kept.key[i].hex, key.hex)) return kept.text + kept.at[i];
    return NULL;
}
