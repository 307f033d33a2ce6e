/* tools/kept.c - `make kept`: the kernels that come with the program (cuda/kept.h), compiled to PTX by NVRTC and
 * written to the file that is embedded. Given the same kernels and the same NVRTC it writes the same bytes.
 *
 *     build/tools/kept FILE [NVRTC] */
#include "cuda/kept.h"
#include "base/file.h"
#include "base/mem.h"
#include "cuda/nvrtc.h"
#include "cuda/texts.h"

#include <stdio.h>
#include <string.h>

/* Without comments, which name the compiler's build, and for the oldest driver that is supported: what is used of PTX
 * was all there in CUDA 12.0 (tests/cuda/test_kept.c has ptxas look), but for a hint on which bytes of a load are used. */
static char *plain_text(const char *ptx) {
    static const char hint[] = ".pragma \"used_bytes_mask";
    char *text = mem_zero(strlen(ptx) + 1, 1), *to = text;
    for (const char *line = ptx; text && *line;) {
        const char *next = strchr(line, '\n');
        const size_t length = next ? (size_t)(next - line) + 1 : strlen(line);
        const char *first = line + strspn(line, " \t");
        if (!strncmp(line, ".version ", 9))
            to += sprintf(to, ".version 8.0\n");
        else if (*first != '\n' && strncmp(first, "//", 2) != 0 && strncmp(first, hint, sizeof hint - 1) != 0)
            memcpy(to, line, length), to += length;
        line += length;
    }
    return text;
}

static int compile(const Nvrtc *nvrtc, char *text[]) {
    size_t all = 0;
    for (int i = 0; i < kept_count; i++) {
        GpuSource source = cuda_kernel_source(kept_kernels[i].file, kept_kernels[i].define);
        Compiled compiled;
        int code = nvrtc_compile(nvrtc, &source, KEPT_ARCH, COMPILE_PTX, &compiled);
        if (!code && !(text[i] = plain_text(compiled.code))) code = ERR_MEMORY;
        compiled_free(&compiled);
        if (code) return code;
        printf("%-36s %-24s %8zu bytes\n", source.name, source.define ? source.define : "", strlen(text[i]));
        all += strlen(text[i]);
    }
    printf("%d texts, %zu bytes", kept_count, all);
    return 0;
}

int main(int argc, char **argv) {
    const Nvrtc *nvrtc;
    Out *out = NULL;
    size_t bytes = 0;
    if (argc < 2) return ERR_USAGE;
    char **text = mem_zero((size_t)kept_count, sizeof *text);
    int code = text ? nvrtc_open(argc > 2 ? argv[2] : NULL, &nvrtc) : (int)ERR_MEMORY;
    if (!code) code = compile(nvrtc, text);
    uint8_t *file = code ? NULL : kept_pack((const char *const *)text, &bytes);
    if (!code && !file) code = ERR_MEMORY;
    if (!code) code = out_open(argv[1], OUT_OVERWRITE, &out);
    if (!code) code = out_write(out, file, bytes);
    if (!code) code = out_commit(&out);
    if (code)
        fprintf(stderr, "%s\n", err_sentence());
    else
        printf(", %zu packed, in %s\n", bytes, argv[1]);
    mem_free(file);
    for (int i = 0; text && i < kept_count; i++) mem_free(text[i]);
    mem_free(text);
    return code;
}
