/* What the program says when a GPU cannot be used, or is lost: against a driver that fails as told (fake_driver.c). */
#include "base/mem.h"
#include "cuda/driver.h"
#include "cuda/nvrtc.h"
#include "cuda/sentences.h"
#include "tests/lib/check.h"

#include <pthread.h>
#include <unistd.h>

static char fake_path[300];
static CudaLibraries fake(const char *told) {
    const char *folder = getenv("PANUM_BUILD");
    snprintf(fake_path, sizeof fake_path, "%s%s/tests/cuda/libcuda_fake.so", folder && folder[0] == '/' ? "" : "./",
             folder ? folder : "build");
    setenv("FAKE_CUDA", told, 1);
    return (CudaLibraries){.driver = fake_path, .nvrtc = fake_path};
}

static void expect(int code, ErrCode want, const char *words) {
    printf("  %s\n", code ? err_sentence() : "(no error)");
    assert_int_equal(code, want);
    if (!strstr(err_sentence(), words)) fail_msg("'%s' is not in: %s", words, err_sentence());
    assert_null(strchr(err_sentence(), '\n'));
}

static void test_opening(void **state) {
    (void)state;
    static const struct {
        const char *told, *words;
    } row[] = {
        {"version=11080", "knows CUDA 11.8 and 12.0 is needed"},
        {"init=34", "toolkit's stub"},
        {"init=100", "finds no GPU it can use"},
        {"init=803", "restart the machine"},
        {"init=999", "dmesg"},
        {"init=12345", "does not know"},
        {"devices=0", "finds no GPU it can use"},
        {"arch=61", "too old (sm_61)"},
        {"context=46", "another process has it"},
        {"context=2", "no memory left"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Gpu *gpu;
        CudaLibraries libraries = fake(row[i].told);
        /* a driver that was opened once stays open: version and init are asked of a fresh copy */
        char copy[400], command[900];
        snprintf(copy, sizeof copy, "%s.%d.%zu", fake_path, (int)getpid(), i);
        snprintf(command, sizeof command, "cp %s %s", fake_path, copy);
        assert_int_equal(system(command), 0);
        libraries.driver = copy;
        int code = cuda_open(&libraries, 0, &gpu);
        unlink(copy);
        expect(code, strstr(row[i].told, "context=2") ? ERR_MEMORY : ERR_DEVICE, row[i].words);
        assert_null(gpu);
    }
    Gpu *gpu;
    CudaLibraries libraries = {.driver = "no/libcuda.so.1"};
    expect(cuda_open(&libraries, 0, &gpu), ERR_DEVICE, "there is no NVIDIA driver on this machine");
    libraries = fake("");
    expect(cuda_open(&libraries, 3, &gpu), ERR_DEVICE, "there is no GPU 3: the driver finds 1");
    /* one that is there and cannot be loaded says why */
    char broken[500], made[1200];
    snprintf(broken, sizeof broken, "%s/libcuda.so.1", scratch_folder("broken_driver"));
    snprintf(made, sizeof made, "echo 'what an installation left behind' >'%s'", broken);
    assert_int_equal(system(made), 0);
    libraries.driver = broken;
    expect(cuda_open(&libraries, 0, &gpu), ERR_DEVICE, "cannot be loaded");
    libraries.driver = "libm.so.6";
    expect(cuda_open(&libraries, 0, &gpu), ERR_DEVICE, "no NVIDIA driver");
}

static Gpu *open_fake(const char *told) {
    Gpu *gpu;
    CudaLibraries libraries = fake(told);
    assert_int_equal(cuda_open(&libraries, 0, &gpu), 0);
    return gpu;
}

static const GpuSource source = {.name = "x.cu", .text = "x"};

static void test_a_run(void **state) {
    (void)state;
    Gpu *gpu = open_fake("");
    assert_string_equal(gpu->facts.name, "Fake GPU");
    assert_int_equal(gpu->facts.arch, 86);
    assert_int_equal(gpu->facts.shared_a_block, 101376);
    const GpuCalls *call = gpu->call;
    GpuStream *stream;
    GpuEvent *a, *b;
    GpuModule *module;
    const GpuKernel *kernel, *again;
    GpuGraph *graph;
    void *there, *host;
    float x[4] = {1, 2, 3, 4}, y[4];
    double seconds;
    assert_int_equal(call->stream(gpu, &stream), 0);
    assert_int_equal(call->event(gpu, &a) | call->event(gpu, &b), 0);
    assert_int_equal(call->memory(gpu, sizeof x, &there) | call->pinned(gpu, 16, &host), 0);
    assert_int_equal(call->copy(stream, there, x, sizeof x, GPU_TO_DEVICE), 0);
    assert_int_equal(call->copy(stream, y, there, sizeof x, GPU_TO_HOST), 0);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(call->fill(stream, there, 0, sizeof x), 0);
    assert_int_equal(call->record(stream, a) | call->await(stream, a) | call->record(stream, b), 0);
    assert_int_equal(call->event_finish(b) | call->seconds(a, b, &seconds), 0);
    assert_true(seconds > 0.00199 && seconds < 0.00201);
    assert_int_equal(call->module(gpu, &source, &module), 0);
    assert_int_equal(call->kernel(module, "k", &kernel) | call->kernel(module, "k", &again), 0);
    assert_ptr_equal(kernel, again);
    assert_int_equal(call->capture(stream), 0);
    assert_int_equal(call->launch(stream, kernel, (GpuLaunch){{1, 1, 1}, 32, 60 << 10}, x, sizeof x), 0);
    assert_int_equal(call->capture_end(stream, &graph), 0);
    assert_int_equal(call->graph_run(stream, graph) | call->finish(stream), 0);
    call->graph_drop(graph);
    call->module_drop(module);
    call->event_drop(a), call->event_drop(b);
    call->memory_free(gpu, there), call->pinned_free(gpu, host);
    call->stream_drop(stream);
    gpu_close(gpu);
}

/* The driver keeps a context for each thread: work that another thread asks for finds the device's. And a launch that
 * wants more shared memory than a block can have, with the kernel's own arrays, is refused with a sentence. */
static void *another_thread(void *context) {
    Gpu *gpu = context;
    void *at;
    size_t left;
    return gpu->call->memory(gpu, 64, &at) || gpu->call->memory_left(gpu, &left) ? NULL : at;
}

static void test_threads_and_shared(void **state) {
    (void)state;
    Gpu *gpu = open_fake("");
    const GpuCalls *call = gpu->call;
    pthread_t thread;
    void *at = NULL;
    assert_int_equal(pthread_create(&thread, NULL, another_thread, gpu), 0);
    assert_int_equal(pthread_join(thread, &at), 0);
    assert_non_null(at);
    call->memory_free(gpu, at);
    GpuStream *stream;
    GpuModule *module;
    const GpuKernel *kernel;
    GpuLaunch how = {{1, 1, 1}, 32, (99 << 10) - (16 << 10)};
    assert_int_equal(call->stream(gpu, &stream) | call->module(gpu, &source, &module), 0);
    assert_int_equal(call->kernel(module, "k", &kernel), 0);
    assert_int_equal(call->launch(stream, kernel, how, "", 1), 0);
    how.shared++;
    expect(call->launch(stream, kernel, how, "", 1), ERR_DEVICE,
           "k: 101377 bytes of shared memory, this device has 101376");
    call->module_drop(module);
    call->stream_drop(stream);
    gpu_close(gpu);
}

static void test_compiling(void **state) {
    (void)state;
    GpuModule *module;
    Gpu *gpu = open_fake("arch=89");
    assert_int_equal(gpu->facts.form, GPU_COMPILES_PTX); /* of what is known: sm_86, so for it by way of PTX */
    gpu_close(gpu);
    gpu = open_fake("arch=120");
    assert_int_equal(gpu->facts.form, GPU_COMPILES_PTX);
    assert_string_equal(gpu->facts.compiler,
                        "NVRTC 13.0, which knows sm_90 and older: it makes PTX, and the driver the rest");
    assert_int_equal(gpu->call->module(gpu, &source, &module), 0);
    gpu->call->module_drop(module);
    gpu_close(gpu);
    gpu = open_fake("arch=120 load=222");
    expect(gpu->call->module(gpu, &source, &module), ERR_DEVICE, "install a newer driver");
    gpu_close(gpu);
    gpu = open_fake("compile=6");
    expect(gpu->call->module(gpu, &source, &module), ERR_DEVICE, "x.cu(7): error: it is wrong");
    gpu_close(gpu);
    gpu = open_fake("compile=7");
    expect(gpu->call->module(gpu, &source, &module), ERR_DEVICE, "libnvrtc-builtins");
    gpu_close(gpu);
    gpu = open_fake("load=222");
    expect(gpu->call->module(gpu, &source, &module), ERR_DEVICE, "install a newer driver");
    gpu_close(gpu);
    CudaLibraries libraries = fake("");
    libraries.nvrtc = "no/libnvrtc.so";
    assert_int_equal(cuda_open(&libraries, 0, &gpu), 0);
    assert_int_equal(gpu->facts.form, GPU_EMBEDDED);
    expect(gpu->call->module(gpu, &source, &module), ERR_DEVICE, "x.cu does not come compiled with the program");
    assert_non_null(strstr(err_sentence(), "pip install nvidia-cuda-nvrtc"));
    gpu_close(gpu);
}

static void test_out_of_memory(void **state) {
    (void)state;
    Gpu *gpu = open_fake("memory=2");
    void *at;
    expect(gpu->call->memory(gpu, (size_t)3 << 30, &at), ERR_MEMORY, "no room for 3072 MiB: 1024 MiB of its 8192 MiB");
    setenv("FAKE_CUDA", "", 1);
    assert_int_equal(gpu->call->memory(gpu, 64, &at), 0); /* it goes on */
    gpu->call->memory_free(gpu, at);
    gpu_close(gpu);
}

/* After an illegal address every call says the same, and that a new process is needed; other failures pass. */
static void test_lost(void **state) {
    (void)state;
    Gpu *gpu = open_fake("");
    const GpuCalls *call = gpu->call;
    GpuStream *stream;
    void *at;
    assert_int_equal(call->stream(gpu, &stream) | call->memory(gpu, 64, &at), 0);
    setenv("FAKE_CUDA", "finish=701", 1);
    expect(call->finish(stream), ERR_DEVICE, "more registers or shared memory");
    setenv("FAKE_CUDA", "", 1);
    assert_int_equal(call->finish(stream), 0);
    setenv("FAKE_CUDA", "finish=700", 1);
    expect(call->finish(stream), ERR_DEVICE, "start the program again");
    setenv("FAKE_CUDA", "", 1);
    char x[64] = {0};
    GpuEvent *event;
    GpuModule *module;
    expect(call->finish(stream), ERR_DEVICE, "lost earlier");
    expect(call->copy(stream, at, x, sizeof x, GPU_TO_DEVICE), ERR_DEVICE, "CUDA error 700");
    assert_int_equal(call->fill(stream, at, 0, 64), ERR_DEVICE);
    assert_int_equal(call->event(gpu, &event), ERR_DEVICE);
    assert_int_equal(call->module(gpu, &source, &module), ERR_DEVICE);
    assert_int_equal(call->capture(stream), ERR_DEVICE);
    free(at); /* the fake's; the driver is not asked any more */
    call->stream_drop(stream);
    gpu_close(gpu);
}

/* Every code once, in order, each with something to say; those that lose the context say what to do. */
static void test_sentences(void **state) {
    (void)state;
    assert_true(cuda_codes() > 90);
    for (int i = 0; i < cuda_codes(); i++) {
        const CudaCode *c = cuda_code_at(i);
        assert_true(i == 0 || c->code > cuda_code_at(i - 1)->code);
        assert_ptr_equal(cuda_code(c->code), c);
        assert_true(strlen(c->sentence) > 15);
        size_t n = strlen(c->sentence);
        assert_true(c->sentence[n - 1] != '.' && c->sentence[n - 1] != '\n');
        assert_true(!c->lost || c->code == 4 || strstr(c->sentence, "start the program again"));
    }
    for (int i = 1; i <= 17; i++) assert_int_equal(nvrtc_code(i)->code, i);
    assert_int_equal(nvrtc_code(99)->code, -1);
}

/* Reports are read from ptxas's words; one that is not whole does not count. */
static void test_reports(void **state) {
    (void)state;
    KernelReport r[4];
    assert_int_equal(kernel_reports("", r, 4), 0);
    assert_int_equal(kernel_reports("ptxas info    : Compiling entry function 'a' for 'sm_80'\n", r, 4), 0);
    static const char log[] =
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function 'gemm' for 'sm_80'\nptxas info    : Function properties for gemm\n"
        "    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 72 registers, used 1 barriers, 20480 bytes smem, 400 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'b' for 'sm_80'\n"
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 9 registers, 400 bytes cmem[0]\n";
    assert_int_equal(kernel_reports(log, r, 4), 2);
    assert_string_equal(r[0].name, "gemm");
    assert_true(r[0].registers == 72 && r[0].shared == 20480 && r[0].stack == 8);
    assert_true(r[0].spill_stores == 4 && r[0].spill_loads == 12);
    assert_true(r[1].registers == 9 && r[1].shared == 0 && r[1].stack == 0);
}

/* `panum devices`, with such a driver under its usual name. */
static void test_devices(void **state) {
    (void)state;
    char out[8192], folder[400];
    fake("");
    snprintf(folder, sizeof folder, "%s", scratch_folder("fake_cuda"));
    assert_int_equal(run_command(out, sizeof out, "cp '%s' '%s/libcuda.so.1' && cp '%s' '%s/libnvrtc.so.13'", fake_path,
                                 folder, fake_path, folder),
                     0);
    static const struct {
        const char *told, *words;
    } row[] = {
        {"devices=2", "Fake GPU (cuda:1)"},
        {"arch=75", "sm_75, 24 multiprocessors, 8.0 GiB, 99 KB of shared memory a block; driver for CUDA 13.0"},
        {"arch=86", "kernels are compiled for it by NVRTC 13.0"},
        {"arch=120",
         "compiled for it by NVRTC 13.0, which knows sm_90 and older: it makes PTX, and the driver the rest"},
        {"archs=0",
         "plain kernels that come with panum, slower than what a compiler makes for it: there is no code for "
         "sm_86 from NVRTC 13.0"},
        {"arch=61", "too old to be used: sm_75"},
        {"init=803", "gpu: none: the NVIDIA driver does not start"},
        {"version=11080", "driver 525 or newer"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_int_equal(run_command(out, sizeof out, "FAKE_CUDA='%s' LD_LIBRARY_PATH='%s' %s devices", row[i].told,
                                     folder, panum_program()),
                         0);
        if (!strstr(out, row[i].words)) fail_msg("'%s' is not in:\n%s", row[i].words, out);
    }
    assert_int_equal(run_command(out, sizeof out, "FAKE_CUDA='arch=90' LD_LIBRARY_PATH='%s' %s devices --json", folder,
                                 panum_program()),
                     0);
    assert_non_null(strstr(out, "\"gpus\":[{\"name\":\"Fake GPU\",\"arch\":90,"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_a_run),
        cmocka_unit_test(test_compiling),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_threads_and_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
