/* cuda/calls.h - the calls of libcuda and libnvrtc that are made here, and the few constants, declared by hand after
 * cuda.h and nvrtc.h of 12.0: nothing of the toolkit is needed to build. Each row: what it is called here, its name in
 * the library (that of its present form: _v2 where 64-bit sizes came later), what it takes. All return a code.
 *
 * tests/cuda/test_headers.c holds this page against the real headers where there are some: names, types and numbers. It
 * defines CALLS_OF_HEADERS, and says itself what the types are. */
#ifndef PANUM_CUDA_CALLS_H
#define PANUM_CUDA_CALLS_H
#include <stddef.h>

#ifndef CALLS_OF_HEADERS
typedef int DriverCode, DeviceNumber, DeviceAttribute, FunctionAttribute, CaptureMode, CompilerCode;
typedef struct CUctx_st *Context;
typedef struct CUstream_st *Stream;
typedef struct CUevent_st *Event;
typedef struct CUmod_st *Module;
typedef struct CUfunc_st *Function;
typedef struct CUgraph_st *Graph;
typedef struct CUgraphExec_st *GraphExec;
typedef unsigned long long Address; /* of device memory */
typedef struct NvrtcProgram *Program;
#endif

/* Constants that are passed, with the names of cuda.h. */
#define DRIVER_NUMBERS(X)                                                                 \
    X(ATTRIBUTE_MULTIPROCESSORS, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 16)            \
    X(ATTRIBUTE_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 75)                  \
    X(ATTRIBUTE_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 76)                  \
    /* bytes a block may have when its kernel asks, and how it asks */                    \
    X(ATTRIBUTE_SHARED_OPT_IN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 97) \
    X(FUNCTION_SHARED_MOST, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 8)           \
    X(FUNCTION_SHARED, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 1) /* of its own arrays */    \
    X(STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING, 1)                                     \
    X(CAPTURE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, 1)
#define DRIVER_NUMBER(name, of_header, number) name = number,
enum { DRIVER_NUMBERS(DRIVER_NUMBER) DRIVER_NUMBERS_END };

#define DRIVER_CALLS(X)                                                                                               \
    X(init, cuInit, (unsigned flags))                                                                                 \
    X(device_count, cuDeviceGetCount, (int *count))                                                                   \
    X(device_get, cuDeviceGet, (DeviceNumber * device, int index))                                                    \
    X(device_name, cuDeviceGetName, (char *name, int size, DeviceNumber device))                                      \
    X(device_attribute, cuDeviceGetAttribute, (int *value, DeviceAttribute attribute, DeviceNumber device))           \
    X(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, DeviceNumber device))                                      \
    X(context_retain, cuDevicePrimaryCtxRetain, (Context * context, DeviceNumber device))                             \
    X(context_release, cuDevicePrimaryCtxRelease_v2, (DeviceNumber device))                                           \
    X(context_set, cuCtxSetCurrent, (Context context))                                                                \
    X(memory_info, cuMemGetInfo_v2, (size_t * free, size_t * all))                                                    \
    X(memory, cuMemAlloc_v2, (Address * at, size_t bytes))                                                            \
    X(memory_free, cuMemFree_v2, (Address at))                                                                        \
    X(pinned, cuMemHostAlloc, (void **at, size_t bytes, unsigned flags))                                              \
    X(pinned_free, cuMemFreeHost, (void *at))                                                                         \
    X(copy_up, cuMemcpyHtoDAsync_v2, (Address to, const void *from, size_t bytes, Stream stream))                     \
    X(copy_down, cuMemcpyDtoHAsync_v2, (void *to, Address from, size_t bytes, Stream stream))                         \
    X(copy_across, cuMemcpyDtoDAsync_v2, (Address to, Address from, size_t bytes, Stream stream))                     \
    X(fill, cuMemsetD8Async, (Address at, unsigned char value, size_t bytes, Stream stream))                          \
    X(stream, cuStreamCreate, (Stream * stream, unsigned flags))                                                      \
    X(stream_drop, cuStreamDestroy_v2, (Stream stream))                                                               \
    X(stream_finish, cuStreamSynchronize, (Stream stream))                                                            \
    X(stream_await, cuStreamWaitEvent, (Stream stream, Event event, unsigned flags))                                  \
    X(event, cuEventCreate, (Event * event, unsigned flags))                                                          \
    X(event_drop, cuEventDestroy_v2, (Event event))                                                                   \
    X(event_record, cuEventRecord, (Event event, Stream stream))                                                      \
    X(event_finish, cuEventSynchronize, (Event event))                                                                \
    X(event_time, cuEventElapsedTime, (float *milliseconds, Event from, Event to))                                    \
    X(module, cuModuleLoadData, (Module * module, const void *image))                                                 \
    X(module_drop, cuModuleUnload, (Module module))                                                                   \
    X(function, cuModuleGetFunction, (Function * function, Module module, const char *name))                          \
    X(function_attribute, cuFuncGetAttribute, (int *value, FunctionAttribute attribute, Function function))           \
    X(function_set, cuFuncSetAttribute, (Function function, FunctionAttribute attribute, int value))                  \
    X(launch, cuLaunchKernel,                                                                                         \
      (Function function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, \
       Stream stream, void **arguments, void **extra))                                                                \
    X(capture, cuStreamBeginCapture_v2, (Stream stream, CaptureMode mode))                                            \
    X(capture_end, cuStreamEndCapture, (Stream stream, Graph * graph))                                                \
    X(graph_make, cuGraphInstantiateWithFlags, (GraphExec * exec, Graph graph, unsigned long long flags))             \
    X(graph_upload, cuGraphUpload, (GraphExec exec, Stream stream))                                                   \
    X(graph_run, cuGraphLaunch, (GraphExec exec, Stream stream))                                                      \
    X(graph_exec_drop, cuGraphExecDestroy, (GraphExec exec))                                                          \
    X(graph_drop, cuGraphDestroy, (Graph graph))

#define NVRTC_CALLS(X)                                                                                     \
    X(version, nvrtcVersion, (int *major, int *minor))                                                     \
    X(architectures, nvrtcGetNumSupportedArchs, (int *count))                                              \
    X(architecture, nvrtcGetSupportedArchs, (int *each))                                                   \
    X(create, nvrtcCreateProgram,                                                                          \
      (Program * program, const char *text, const char *name, int headers, const char *const *header_text, \
       const char *const *header_name))                                                                    \
    X(compile, nvrtcCompileProgram, (Program program, int options, const char *const *option))             \
    X(log_size, nvrtcGetProgramLogSize, (Program program, size_t * bytes))                                 \
    X(log, nvrtcGetProgramLog, (Program program, char *log))                                               \
    X(code_size, nvrtcGetCUBINSize, (Program program, size_t * bytes))                                     \
    X(code, nvrtcGetCUBIN, (Program program, char *code))                                                  \
    X(ptx_size, nvrtcGetPTXSize, (Program program, size_t * bytes))                                        \
    X(ptx, nvrtcGetPTX, (Program program, char *ptx))                                                      \
    X(destroy, nvrtcDestroyProgram, (Program * program))
#endif
