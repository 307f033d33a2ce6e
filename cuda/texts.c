#include "cuda/texts.h"

#include <string.h>

GpuSource cuda_source(const char *name, const char *text, const char *define) {
    GpuSource source = {.name = name, .text = text, .define = define};
    for (int i = 0; i < cuda_text_count; i++) {
        const char *header = cuda_texts[i].name, *end = header + strlen(header) - 2;
        if (strcmp(end, ".h")) continue;
        BUG_IF(source.headers == GPU_HEADERS_MAX, "more than %d headers for kernels", GPU_HEADERS_MAX);
        source.header_name[source.headers] = header;
        source.header_text[source.headers++] = cuda_texts[i].text;
    }
    return source;
}

GpuSource cuda_kernel_source(const char *name, const char *define) {
    for (int i = 0; i < cuda_text_count; i++)
        if (!strcmp(cuda_texts[i].name, name)) return cuda_source(name, cuda_texts[i].text, define);
    panum_bug(__FILE__, __LINE__, "no kernel text %s", name);
}
