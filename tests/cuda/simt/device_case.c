#include "tests/cuda/simt/device_case.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

/* The text of a file of the tests, with a zero at its end. */
static char *text_of(const char *path) {
    uint8_t *bytes;
    size_t size;
    must(file_read(path, 1 << 20, &bytes, &size));
    char *text = mem_zero(size + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    mem_free(bytes);
    return text;
}

DeviceCase device_case(Gpu *gpu, const char *file, const char *define) {
    DeviceCase c = {.gpu = gpu};
    char *text = text_of(file), *own = text_of("tests/cuda/cases.h");
    GpuSource source = cuda_source(file, text, define);
    source.header_name[source.headers] = "tests/cuda/cases.h";
    source.header_text[source.headers++] = own;
    must(gpu->call->stream(gpu, &c.stream));
    must(gpu->call->module(gpu, &source, &c.module));
    mem_free(text);
    mem_free(own);
    return c;
}

void device_case_drop(DeviceCase *c) {
    c->gpu->call->module_drop(c->module);
    c->gpu->call->stream_drop(c->stream);
    gpu_close(c->gpu);
}

void *case_room(DeviceCase *c, size_t bytes) {
    void *at;
    must(c->gpu->call->memory(c->gpu, bytes, &at));
    return at;
}

void *case_up(DeviceCase *c, const void *from, size_t bytes) {
    void *at = case_room(c, bytes);
    must(c->gpu->call->copy(c->stream, at, from, bytes, GPU_TO_DEVICE));
    must(c->gpu->call->finish(c->stream));
    return at;
}

void case_down(DeviceCase *c, void *to, const void *from, size_t bytes) {
    must(c->gpu->call->copy(c->stream, to, from, bytes, GPU_TO_HOST));
    must(c->gpu->call->finish(c->stream));
}

void case_free(DeviceCase *c, void *at) {
    c->gpu->call->memory_free(c->gpu, at);
}

int case_try(DeviceCase *c, const char *kernel, GpuLaunch how, const void *arguments, size_t bytes) {
    const GpuKernel *found;
    int code = c->gpu->call->kernel(c->module, kernel, &found);
    if (!code) code = c->gpu->call->launch(c->stream, found, how, arguments, bytes);
    return code ? code : c->gpu->call->finish(c->stream);
}

void case_run(DeviceCase *c, const char *kernel, GpuLaunch how, const void *arguments, size_t bytes) {
    must(case_try(c, kernel, how, arguments, bytes));
}
