/* What cuda/calls.h and cuda/sentences.c declare by hand, held against the toolkit's own headers and its stub of the
 * driver: names, types and numbers. Skipped, visibly, where there are none; $PANUM_CUDA names the toolkit's folder
 * where it is not /usr/local/cuda. */
#include "base/file.h"
#include "base/mem.h"
#include "cuda/calls.h"
#include "cuda/sentences.h"
#include "tests/lib/check.h"

#include <dlfcn.h>

static const char *toolkit(void) {
    const char *name = getenv("PANUM_CUDA");
    return name && *name ? name : "/usr/local/cuda";
}

/* A file of the toolkit as text, or NULL after saying that it is not here. */
static char *header(const char *name) {
    char path[600];
    uint8_t *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s/include/%s", toolkit(), name);
    if (file_read(path, 8 << 20, &bytes, &size)) {
        printf("skip: no %s here to hold cuda/calls.h against\n", path);
        return NULL;
    }
    char *text = mem_zero(size + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    mem_free(bytes);
    return text;
}

static void compiles(const char *what, const char *text) {
    char path[600], out[16000];
    const char *folder = scratch_folder("headers");
    snprintf(path, sizeof path, "%s/%s.c", folder, what);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    int code = run_command(out, sizeof out, "cc -std=gnu11 -Wall -Werror -fsyntax-only -I. -I'%s/include' '%s' 2>&1",
                           toolkit(), path);
    if (code) fail_msg("%s:\n%s", what, out);
}

/* Each call is declared a second time with the types written here, which C accepts only when they are the same. A name
 * that the header replaces by a newer form of itself is not the present one; cuEventElapsedTime is (the newer came with
 * 12.8, takes the same, and this program is content with a driver of 12.0). */
static const char of_driver[] =
    "#include <cuda.h>\n"
    "#define CALLS_OF_HEADERS\n"
    "typedef CUresult DriverCode;\ntypedef CUdevice DeviceNumber;\ntypedef CUdevice_attribute DeviceAttribute;\n"
    "typedef CUfunction_attribute FunctionAttribute;\ntypedef CUstreamCaptureMode CaptureMode;\n"
    "typedef CUcontext Context;\ntypedef CUstream Stream;\ntypedef CUevent Event;\ntypedef CUmodule Module;\n"
    "typedef CUfunction Function;\ntypedef CUgraph Graph;\ntypedef CUgraphExec GraphExec;\ntypedef CUdeviceptr "
    "Address;\n"
    "#include \"cuda/calls.h\"\n"
    "#undef cuEventElapsedTime\n"
    "CUresult cuEventElapsedTime(float *, CUevent, CUevent);\n"
    "#define SPELLED(x) #x\n"
    "#define REPLACED(x) SPELLED(x)\n"
    "#define CALL(name, symbol, arguments) \\\n"
    "    static const void *const name##_is_declared __attribute__((unused)) = (const void *)symbol; \\\n"
    "    DriverCode symbol arguments; \\\n"
    "    _Static_assert(sizeof REPLACED(symbol) == sizeof #symbol, \"not the present form: \" #symbol);\n"
    "DRIVER_CALLS(CALL)\n"
    "#define NUMBER(name, of_header, number) _Static_assert((int)of_header == name, #of_header);\n"
    "DRIVER_NUMBERS(NUMBER)\n"
    "_Static_assert(sizeof(CUdeviceptr) == 8 && sizeof(CUresult) == 4 && sizeof(CUdevice) == 4, \"sizes\");\n"
    "_Static_assert(sizeof(CUdevice_attribute) == 4 && sizeof(CUstreamCaptureMode) == 4, \"sizes\");\n";

static const char of_compiler[] = "#include <nvrtc.h>\n"
                                  "#define CALLS_OF_HEADERS\n"
                                  "typedef nvrtcResult CompilerCode;\ntypedef nvrtcProgram Program;\n"
                                  "#include \"cuda/calls.h\"\n"
                                  "#define CALL(name, symbol, arguments) \\\n"
                                  "    static const void *const name##_is_declared __attribute__((unused)) = \\\n"
                                  "        (const void *)symbol; \\\n"
                                  "    CompilerCode symbol arguments;\n"
                                  "NVRTC_CALLS(CALL)\n";

static void test_calls(void **state) {
    (void)state;
    char *cuda = header("cuda.h"), *nvrtc = header("nvrtc.h");
    const bool there = cuda && nvrtc;
    mem_free(cuda), mem_free(nvrtc);
    if (!there) skip();
    compiles("driver", of_driver);
    compiles("compiler", of_compiler);
}

/* The header's codes, PREFIX_NAME = number, each with the same name and number in our table; and none there that the
 * header lacks. Returns how many. */
static int codes_of(const char *text, const char *prefix, const CudaCode *(*find)(int code)) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, prefix)) != NULL; at++) {
        char name[80];
        int number;
        if ((at[-1] != ' ' && at[-1] != '\n') || sscanf(at + strlen(prefix), "%79[A-Z0-9_] = %d", name, &number) != 2)
            continue;
        const CudaCode *c = find(number);
        if (c->code != number) fail_msg("%s%s (%d) has no sentence", prefix, name, number);
        if (strcmp(c->name, name) != 0) fail_msg("%d is %s in the header and %s here", number, name, c->name);
        count++;
    }
    return count;
}

static void test_codes(void **state) {
    (void)state;
    char *cuda = header("cuda.h"), *nvrtc = header("nvrtc.h");
    if (!cuda || !nvrtc) skip();
    int codes = codes_of(cuda, "CUDA_ERROR_", cuda_code);
    printf("  %d codes of the driver\n", codes);
    assert_int_equal(codes, cuda_codes()); /* all of ours are among them */
    codes = codes_of(nvrtc, "NVRTC_ERROR_", nvrtc_code);
    printf("  %d codes of NVRTC\n", codes);
    assert_true(codes > 10);
    mem_free(cuda), mem_free(nvrtc);
}

/* The stub that the toolkit links programs against has the names of a real driver of its version. */
static void test_stub(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/lib64/stubs/libcuda.so", toolkit());
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("skip: no stub of the driver in %s\n", path);
        skip();
    }
#define NAME(name, symbol, arguments) #symbol,
    static const char *const names[] = {DRIVER_CALLS(NAME)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!dlsym(library, names[i])) fail_msg("%s has no %s", path, names[i]);
    dlclose(library);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_codes),
                                       cmocka_unit_test(test_stub)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
