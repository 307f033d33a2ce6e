/* The watchers of the emulated device: each planted fault of faults.cu must be reported, with its line; and the
 * mistakes a host can make with streams, events and memory. */
#include "base/mem.h"
#include "tests/cuda/cases.h"
#include "tests/cuda/simt/device_case.h"
#include "tests/cuda/simt/emulated.h"
#include "tests/lib/check.h"

#include <limits.h>

static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *kernel, *report;
        unsigned blocks;
        bool no_line; /* nobody stands anywhere */
    } fault[] = {
        {"fault_no_barrier_before_use", "never written", 1, false}, /* threads in order: 0 reads what 63 will write */
        {"fault_no_barrier_before_reuse", "race on shared", 1, false},
        {"fault_no_warp_sync", "never written", 1, false},
        {"fault_shared_never_written", "never written", 1, false},
        {"fault_copy_not_waited_for", "copy is under way", 1, false},
        {"fault_copy_left_behind", "never waited for", 1, true},
        {"fault_copy_misaligned", "not 16-byte aligned", 1, false},
        {"fault_divergent_barrier", "a meeting nobody can complete", 1, false},
        {"fault_two_barriers", "divergence", 1, false},
        {"fault_half_a_warp", "a meeting nobody can complete", 1, false},
        {"fault_row_outside", "outside every region", 1, false},
        {"fault_shared_outside", "between shared arrays", 1, false},
        {"fault_two_blocks_one_place", "race on device memory", 2, false},
        {"fault_block_reads_block", "race on device memory", 2, false},
        {"fault_atomic_and_plain", "race on device memory", 1, false},
        {"fault_write_outside", "outside every region", 1, false},
        {"fault_signed_overflow", "signed overflow", 1, false},
        {"fault_misaligned_load", "not a multiple of 16", 1, false},
    };
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        Gpu *gpu;
        assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
        DeviceCase d = device_case(gpu, "tests/cuda/faults.cu", NULL);
        float x[64] = {0};
        WordArgs a = {
            .x = case_up(&d, x, sizeof x), .y = case_room(&d, 128 * 4), .c = case_room(&d, 128 * 4), .n = INT_MAX};
        int code = case_try(&d, fault[i].kernel, (GpuLaunch){{fault[i].blocks, 1, 1}, 64, 0}, &a, sizeof a);
        printf("%s: %s\n", fault[i].kernel, code ? err_sentence() : "NOT SEEN");
        assert_int_equal(code, ERR_DEVICE);
        assert_non_null(strstr(err_sentence(), fault[i].report));
        if (!fault[i].no_line) assert_non_null(strstr(err_sentence(), "faults.cu:"));
        /* and nothing works any more on that device */
        assert_int_equal(gpu->call->finish(d.stream), ERR_DEVICE);
        void *at;
        assert_int_equal(gpu->call->memory(gpu, 16, &at), ERR_DEVICE);
        device_case_drop(&d);
    }
}

/* A kernel of one stream reads what a copy of another brings: right with an event, NaNs without. */
static void test_streams(void **state) {
    (void)state;
    for (int with_event = 0; with_event < 2; with_event++) {
        Gpu *gpu;
        assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
        const GpuCalls *call = gpu->call;
        GpuStream *first, *second;
        GpuEvent *event, *end;
        void *there, *back;
        float x[64], y[64] = {0};
        for (int i = 0; i < 64; i++) x[i] = (float)i;
        assert_int_equal(call->stream(gpu, &first) | call->stream(gpu, &second) | call->event(gpu, &event), 0);
        assert_int_equal(call->event(gpu, &end), 0);
        assert_int_equal(call->memory(gpu, sizeof x, &there) | call->memory(gpu, sizeof x, &back), 0);
        assert_int_equal(call->copy(first, there, x, sizeof x, GPU_TO_DEVICE), 0);
        assert_int_equal(call->record(first, event), 0);
        if (with_event) assert_int_equal(call->await(second, event), 0);
        assert_int_equal(call->copy(second, back, there, sizeof x, GPU_ON_DEVICE), 0);
        assert_int_equal(call->copy(second, y, back, sizeof x, GPU_TO_HOST), 0);
        assert_int_equal(call->record(second, end), 0);
        assert_true(y[5] != y[5]); /* under way: nobody may look */
        assert_int_equal(call->event_finish(end), 0);
        assert_true(with_event ? y[5] == 5 : y[5] != y[5]);
        assert_int_equal(call->finish(first), 0);
        call->event_drop(event), call->event_drop(end);
        call->stream_drop(first), call->stream_drop(second);
        gpu_close(gpu);
    }
}

static void test_host_changes_too_early(void **state) {
    (void)state;
    Gpu *gpu;
    assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
    GpuStream *stream;
    void *there;
    float x[64] = {0};
    assert_int_equal(gpu->call->stream(gpu, &stream) | gpu->call->memory(gpu, sizeof x, &there), 0);
    assert_int_equal(gpu->call->copy(stream, there, x, sizeof x, GPU_TO_DEVICE), 0);
    x[3] = 1;
    assert_int_equal(gpu->call->finish(stream), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "changed before its copy"));
    gpu->call->stream_drop(stream);
    gpu_close(gpu);
}

static void test_memory_limit(void **state) {
    (void)state;
    Gpu *gpu;
    assert_int_equal(emulated_open((Emulated){.memory = 1000}, &gpu), 0);
    void *a, *b;
    size_t left;
    assert_int_equal(gpu->call->memory(gpu, 600, &a), 0);
    assert_int_equal(gpu->call->memory(gpu, 600, &b), ERR_MEMORY);
    assert_non_null(strstr(err_sentence(), "400 are left"));
    assert_int_equal(gpu->call->memory_left(gpu, &left), 0);
    assert_int_equal(left, 400);
    gpu->call->memory_free(gpu, a);
    assert_int_equal(gpu->call->memory(gpu, 1000, &b), 0); /* it goes on */
    gpu->call->memory_free(gpu, b);
    assert_int_equal(emulated_use(gpu).memory_peak, 1000);
    gpu_close(gpu);
}

/* What a launch may ask for is checked as the driver would. */
static void test_launch_limits(void **state) {
    (void)state;
    Gpu *gpu;
    assert_int_equal(emulated_open((Emulated){.shared_a_block = 64 << 10}, &gpu), 0);
    DeviceCase d = device_case(gpu, "tests/cuda/words.cu", NULL);
    WordArgs a = {.n = 0};
    const GpuLaunch wrong[] = {
        {{0, 1, 1}, 128, 0}, {{1, 65536, 1}, 128, 0}, {{1, 1, 1}, 64, 0}, {{1, 1, 1}, 128, 65 << 10}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(case_try(&d, "word_numbers", wrong[i], &a, sizeof a), ERR_DEVICE);
    assert_int_equal(case_try(&d, "word_numbers", (GpuLaunch){{1, 1, 1}, 128, 0}, &a, sizeof a), 0);
    assert_int_equal(case_try(&d, "no_such_kernel", (GpuLaunch){{1, 1, 1}, 128, 0}, &a, sizeof a), ERR_DEVICE);
    device_case_drop(&d);
}

/* A captured graph runs again with the arguments it was captured with; what lies in memory may have changed. */
static void test_graph(void **state) {
    (void)state;
    Gpu *gpu;
    assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
    DeviceCase d = device_case(gpu, "tests/cuda/words.cu", NULL);
    const GpuCalls *call = gpu->call;
    float x[64], y[448];
    for (int i = 0; i < 64; i++) x[i] = (float)i;
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_room(&d, sizeof y), .c = case_room(&d, 512)};
    const GpuKernel *kernel;
    GpuGraph *graph;
    assert_int_equal(call->kernel(d.module, "word_warp", &kernel), 0);
    assert_int_equal(call->capture(d.stream), 0);
    assert_int_equal(call->launch(d.stream, kernel, (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a), 0);
    assert_int_equal(call->capture_end(d.stream, &graph), 0);
    assert_int_equal(emulated_use(gpu).launches, 0);
    for (int run = 1; run <= 2; run++) {
        for (int i = 0; i < 64; i++) x[i] = (float)(i * run);
        float *from = (float *)(uintptr_t)a.x;
        assert_int_equal(call->copy(d.stream, from, x, sizeof x, GPU_TO_DEVICE), 0);
        assert_int_equal(call->graph_run(d.stream, graph), 0);
        case_down(&d, y, a.y, sizeof y);
        assert_true(y[0] == (float)run && y[1] == 0);
        assert_int_equal(emulated_use(gpu).launches, run);
    }
    call->graph_drop(graph);
    device_case_drop(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),       cmocka_unit_test(test_streams),
        cmocka_unit_test(test_memory_limit), cmocka_unit_test(test_host_changes_too_early),
        cmocka_unit_test(test_graph),        cmocka_unit_test(test_launch_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
