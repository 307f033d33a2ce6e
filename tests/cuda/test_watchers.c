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
        size_t shared;
    } fault[] = {
        {"fault_no_barrier_before_use", "never written", 1, false,
         0}, /* threads in order: 0 reads what 63 will write */
        {"fault_no_barrier_before_reuse", "race on shared", 1, false, 0},
        {"fault_no_warp_sync", "never written", 1, false, 0},
        {"fault_shared_never_written", "never written", 1, false, 0},
        {"fault_copy_not_waited_for", "copy is under way", 1, false, 0},
        {"fault_copy_left_behind", "never waited for", 1, true, 0},
        {"fault_copy_misaligned", "not 16-byte aligned", 1, false, 0},
        {"fault_divergent_barrier", "a meeting nobody can complete", 1, false, 0},
        {"fault_two_barriers", "divergence", 1, false, 0},
        {"fault_half_a_warp", "a meeting nobody can complete", 1, false, 0},
        {"fault_row_outside", "outside every region", 1, false, 0},
        {"fault_shared_outside", "between shared arrays", 1, false, 0},
        {"fault_two_blocks_one_place", "race on device memory", 2, false, 0},
        {"fault_block_reads_block", "race on device memory", 2, false, 0},
        {"fault_atomic_and_plain", "race on device memory", 1, false, 0},
        {"fault_write_outside", "outside every region", 1, false, 0},
        {"fault_signed_overflow", "signed overflow", 1, false, 0},
        {"fault_misaligned_load", "not a multiple of 16", 1, false, 0},
        {"fault_misaligned_number", "misaligned address", 1, false, 0},
        {"fault_two_writers", "race on shared", 1, false, 0},
        {"fault_too_much_of_its_own", "goes through SHARED_REST", 1, false, 0},
        {"fault_too_much_together", "this device has 101376 for a block", 1, false, 60 << 10},
        {"fault_beyond_the_rest", "between shared arrays", 1, false, 60 << 10},
        {"fault_copy_seen_by_another", "never written", 1, false, 0}, /* in order, 63 has not begun when 0 reads */
        {"fault_copy_of_too_little", "copy is under way", 1, false, 0},
        {"fault_copy_never_committed", "copy is under way", 1, false, 0},
        {"fault_copy_from_outside", "outside every region", 1, false, 0},
        {"fault_copy_to_global", "not shared", 1, false, 0},
        {"fault_two_words", "divergence", 1, false, 0},
        {"fault_two_sums", "divergence", 1, false, 0},
        {"fault_lanes_returned", "a meeting nobody can complete", 1, false, 0},
        {"fault_matrix_misaligned", "row not 16-byte aligned", 1, false, 0},
        {"fault_matrix_outside", "between shared arrays", 1, false, 0},
        {"fault_matrix_never_written", "never written", 1, false, 0},
        {"fault_matrix_no_barrier", "race on shared", 1, false, 0},
        {"fault_product_by_half", "a meeting nobody can complete", 1, false, 0},
        {"fault_index", "an index outside its array", 1, false, 0},
        {"fault_cast", "a float too large", 1, false, 0},
    };
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        Gpu *gpu;
        assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
        DeviceCase d = device_case(gpu, "tests/cuda/faults.cu", "-DHALF_IS_F16");
        float x[64] = {0};
        WordArgs a = {
            .x = case_up(&d, x, sizeof x), .y = case_room(&d, 128 * 4), .c = case_room(&d, 128 * 4), .n = INT_MAX};
        int code =
            case_try(&d, fault[i].kernel, (GpuLaunch){{fault[i].blocks, 1, 1}, 64, fault[i].shared}, &a, sizeof a);
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

/* Work of one stream reads what a copy of another brings: right with an event; NaNs without, and a report once the copy
 * has run. */
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
        assert_int_equal(call->finish(first), with_event ? 0 : ERR_DEVICE);
        if (!with_event) assert_non_null(strstr(err_sentence(), "race between streams"));
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

/* Two streams, one place, a write: reported with both lines unless an event or the host's waiting orders them, whatever
 * came out, and in whichever order they ran. */
typedef enum { NOTHING, EVENT, EVENT_TOO_EARLY, HOST_WAITS } Between;
typedef enum { READ_WRITTEN, WRITE_READ, WRITE_WRITTEN, FILL_READ } Hazard;

static int two_streams(Hazard hazard, Between between, bool second_first) {
    Gpu *gpu;
    assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
    DeviceCase d = device_case(gpu, "tests/cuda/faults.cu", "-DHALF_IS_F16");
    const GpuCalls *call = gpu->call;
    const GpuKernel *kernel;
    GpuStream *second;
    GpuEvent *event;
    const GpuLaunch one = {{1, 1, 1}, 64, 0};
    float x[64] = {0};
    assert_int_equal(call->stream(gpu, &second) | call->event(gpu, &event), 0);
    assert_int_equal(call->kernel(d.module, "honest_copy", &kernel), 0);
    WordArgs a = {.x = case_up(&d, x, sizeof x), .y = case_up(&d, x, sizeof x)}, b = a;
    float *place = case_up(&d, x, sizeof x);
    if (hazard == WRITE_READ || hazard == FILL_READ) a.x = place;
    if (hazard == READ_WRITTEN || hazard == WRITE_WRITTEN) a.y = place;
    b.y = case_up(&d, x, sizeof x);
    if (hazard == READ_WRITTEN)
        b.x = place;
    else
        b.y = place;
    assert_int_equal(call->finish(d.stream), 0);
    if (between == EVENT_TOO_EARLY) assert_int_equal(call->record(d.stream, event), 0);
    assert_int_equal(call->launch(d.stream, kernel, one, &a, sizeof a), 0);
    if (between == EVENT) assert_int_equal(call->record(d.stream, event), 0);
    if (between == HOST_WAITS) assert_int_equal(call->finish(d.stream), 0);
    if (between == EVENT || between == EVENT_TOO_EARLY) assert_int_equal(call->await(second, event), 0);
    if (hazard == FILL_READ)
        assert_int_equal(call->fill(second, place, 0, sizeof x), 0);
    else
        assert_int_equal(call->launch(second, kernel, one, &b, sizeof b), 0);
    int code = call->finish(second_first ? second : d.stream);
    if (!code) code = call->finish(second_first ? d.stream : second);
    call->event_drop(event);
    call->stream_drop(second);
    device_case_drop(&d);
    return code;
}

static void test_order_of_streams(void **state) {
    (void)state;
    for (int hazard = READ_WRITTEN; hazard <= FILL_READ; hazard++)
        for (int order = 0; order < 2; order++) {
            if (two_streams((Hazard)hazard, EVENT, order)) fail_msg("%d %d: %s", hazard, order, err_sentence());
            assert_int_equal(two_streams((Hazard)hazard, HOST_WAITS, order), 0);
            for (int early = 0; early < 2; early++) {
                if (!two_streams((Hazard)hazard, early ? EVENT_TOO_EARLY : NOTHING, order))
                    fail_msg("hazard %d, order %d, event too early %d: not seen", hazard, order, early);
                if (!early && !order) printf("%s\n", err_sentence());
                assert_non_null(strstr(err_sentence(), "race between streams"));
                assert_non_null(strstr(err_sentence(), "faults.cu:"));
            }
        }
}

/* Memory given back too early, staging written to too early, and a target of a copy. */
static void test_too_early(void **state) {
    (void)state;
    for (int way = 0; way < 5; way++) {
        Gpu *gpu;
        assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
        DeviceCase d = device_case(gpu, "tests/cuda/faults.cu", "-DHALF_IS_F16");
        const GpuCalls *call = gpu->call;
        void *there, *host;
        float x[64] = {0};
        assert_int_equal(call->memory(gpu, sizeof x, &there) | call->pinned(gpu, sizeof x, &host), 0);
        static const char *const said[] = {"device memory was freed", "pinned memory was freed",
                                           "written while a copy to it", "outside every region", "any more"};
        WordArgs a = {.x = there, .y = case_room(&d, sizeof x)};
        switch (way) {
        case 0:
            assert_int_equal(call->copy(d.stream, there, x, sizeof x, GPU_TO_DEVICE), 0);
            call->memory_free(gpu, there);
            break;
        case 1:
            assert_int_equal(call->copy(d.stream, host, there, sizeof x, GPU_TO_HOST), 0);
            call->pinned_free(gpu, host);
            break;
        case 2: /* the slot is filled for the next run before the last one has left it */
            assert_int_equal(call->copy(d.stream, host, there, sizeof x, GPU_TO_HOST), 0);
            memcpy(host, x, 4);
            break;
        case 3: {
            const GpuKernel *kernel;
            assert_int_equal(call->kernel(d.module, "honest_copy", &kernel), 0);
            assert_int_equal(call->launch(d.stream, kernel, (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a), 0);
            call->memory_free(gpu, there);
            break;
        }
        default: { /* what a graph copies is gone when it runs */
            GpuGraph *graph;
            assert_int_equal(call->capture(d.stream), 0);
            assert_int_equal(call->copy(d.stream, a.y, there, sizeof x, GPU_ON_DEVICE), 0);
            assert_int_equal(call->capture_end(d.stream, &graph), 0);
            call->memory_free(gpu, there);
            assert_int_equal(call->graph_run(d.stream, graph), 0);
            assert_int_equal(call->finish(d.stream), ERR_DEVICE);
            call->graph_drop(graph);
        }
        }
        assert_int_equal(call->finish(d.stream), ERR_DEVICE);
        printf("%s\n", err_sentence());
        assert_non_null(strstr(err_sentence(), said[way]));
        device_case_drop(&d);
    }
}

/* What a driver refuses while a stream is captured costs the capture; so does an argument struct of another size. */
static void test_capture(void **state) {
    (void)state;
    for (int way = 0; way < 6; way++) {
        Gpu *gpu;
        assert_int_equal(emulated_open((Emulated){0}, &gpu), 0);
        DeviceCase d = device_case(gpu, "tests/cuda/faults.cu", "-DHALF_IS_F16");
        const GpuCalls *call = gpu->call;
        const GpuKernel *kernel;
        GpuGraph *graph;
        GpuModule *module;
        GpuSource source = cuda_source("x.cu", "\n", NULL);
        void *at = NULL, *there = case_room(&d, 16);
        WordArgs a = {.n = 1};
        int code = 0;
        assert_int_equal(call->kernel(d.module, "honest_copy", &kernel), 0);
        assert_int_equal(call->capture(d.stream), 0);
        if (way == 0) code = call->memory(gpu, 16, &at);
        if (way == 1) call->memory_free(gpu, there);
        if (way == 2) code = call->pinned(gpu, 16, &at);
        if (way == 3) code = call->module(gpu, &source, &module);
        if (way == 4) code = call->finish(d.stream);
        if (way == 5) {
            code = call->launch(d.stream, kernel, (GpuLaunch){{1, 1, 1}, 64, 0}, &a, sizeof a - 8);
            assert_non_null(strstr(err_sentence(), "its own are"));
            assert_int_equal(call->capture_end(d.stream, &graph), 0);
            call->graph_drop(graph);
        } else {
            assert_int_equal(call->capture_end(d.stream, &graph), ERR_DEVICE);
            assert_non_null(strstr(err_sentence(), "while a stream is captured"));
            assert_null(graph);
        }
        assert_int_equal(code, way == 1 ? 0 : ERR_DEVICE);
        device_case_drop(&d);
    }
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
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_host_changes_too_early),
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_launch_limits),
        cmocka_unit_test(test_order_of_streams),
        cmocka_unit_test(test_too_early),
        cmocka_unit_test(test_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
