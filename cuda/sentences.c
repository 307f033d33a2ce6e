#include "cuda/sentences.h"

#include <stddef.h>

#define NEW_PROCESS "; start the program again to use the GPU"

/* Codes of cuda.h (CUresult, 13.0) and what they mean to whoever runs this program. */
static const CudaCode driver_codes[] = {
    {1, "INVALID_VALUE", "the driver refuses an argument; this is a fault of this program", false},
    {2, "OUT_OF_MEMORY", "the GPU has no memory left; close other programs that use it, or work on smaller pictures",
     false},
    {3, "NOT_INITIALIZED", "the driver has not been started; this is a fault of this program", false},
    {4, "DEINITIALIZED", "the driver is shutting down", true},
    {5, "PROFILER_DISABLED", "a profiler is attached that forbids this", false},
    {6, "PROFILER_NOT_INITIALIZED", "the profiler has not been started", false},
    {7, "PROFILER_ALREADY_STARTED", "the profiler runs already", false},
    {8, "PROFILER_ALREADY_STOPPED", "the profiler has stopped already", false},
    {34, "STUB_LIBRARY",
     "libcuda is the toolkit's stub, not a driver; install the NVIDIA driver, or take the stubs folder out of the "
     "library path",
     false},
    {36, "CALL_REQUIRES_NEWER_DRIVER", "the NVIDIA driver is too old for a call; install a newer one", false},
    {46, "DEVICE_UNAVAILABLE", "the GPU is taken: another process has it for itself (compute mode exclusive)", false},
    {100, "NO_DEVICE", "the driver finds no GPU it can use; look at nvidia-smi and CUDA_VISIBLE_DEVICES", false},
    {101, "INVALID_DEVICE", "there is no GPU of that number", false},
    {102, "DEVICE_NOT_LICENSED", "the GPU has no licence for computing (virtual GPU)", false},
    {200, "INVALID_IMAGE", "the GPU's driver cannot read a compiled kernel", false},
    {201, "INVALID_CONTEXT", "the GPU's context is not valid; this is a fault of this program", false},
    {202, "CONTEXT_ALREADY_CURRENT", "the GPU's context is in use already", false},
    {205, "MAP_FAILED", "memory could not be mapped", false},
    {206, "UNMAP_FAILED", "memory could not be unmapped", false},
    {207, "ARRAY_IS_MAPPED", "an array is mapped and cannot be destroyed", false},
    {208, "ALREADY_MAPPED", "memory is mapped already", false},
    {209, "NO_BINARY_FOR_GPU",
     "there is no compiled kernel for this GPU; install NVRTC (package cuda-nvrtc), which makes one", false},
    {210, "ALREADY_ACQUIRED", "a resource is taken already", false},
    {211, "NOT_MAPPED", "memory is not mapped", false},
    {212, "NOT_MAPPED_AS_ARRAY", "memory is not mapped as an array", false},
    {213, "NOT_MAPPED_AS_POINTER", "memory is not mapped as a pointer", false},
    {214, "ECC_UNCORRECTABLE",
     "the GPU's memory has an error that cannot be corrected; what was computed is lost" NEW_PROCESS, true},
    {215, "UNSUPPORTED_LIMIT", "the GPU does not have that limit", false},
    {216, "CONTEXT_ALREADY_IN_USE", "the GPU's context is used by another thread", false},
    {217, "PEER_ACCESS_UNSUPPORTED", "these GPUs cannot reach each other's memory", false},
    {218, "INVALID_PTX", "the driver cannot compile a kernel from PTX; a newer driver may", false},
    {219, "INVALID_GRAPHICS_CONTEXT", "a graphics context is not valid", false},
    {220, "NVLINK_UNCORRECTABLE", "the link between GPUs has an error that cannot be corrected" NEW_PROCESS, true},
    {221, "JIT_COMPILER_NOT_FOUND",
     "the driver's compiler (libnvidia-ptxjitcompiler) is missing; install the whole driver, or NVRTC", false},
    {222, "UNSUPPORTED_PTX_VERSION",
     "a kernel was compiled by an NVRTC newer than the driver; install a newer driver, or an NVRTC of the driver's "
     "version",
     false},
    {223, "JIT_COMPILATION_DISABLED", "the driver may not compile (CUDA_DISABLE_PTX_JIT is set)", false},
    {224, "UNSUPPORTED_EXEC_AFFINITY", "the GPU does not have that affinity", false},
    {225, "UNSUPPORTED_DEVSIDE_SYNC", "a kernel waits in a way the GPU no longer has", false},
    {226, "CONTAINED", "the GPU contained a memory error; what was computed is lost" NEW_PROCESS, true},
    {300, "INVALID_SOURCE", "a kernel's text is not valid", false},
    {301, "FILE_NOT_FOUND", "the driver did not find a file", false},
    {302, "SHARED_OBJECT_SYMBOL_NOT_FOUND", "the driver's library lacks a name; its parts are of different versions",
     false},
    {303, "SHARED_OBJECT_INIT_FAILED", "a library of the driver could not be started", false},
    {304, "OPERATING_SYSTEM", "the operating system refused the driver something; may this user open /dev/nvidia*?",
     false},
    {400, "INVALID_HANDLE", "the driver does not know a handle; this is a fault of this program", false},
    {401, "ILLEGAL_STATE", "the driver is not in a state for this call; this is a fault of this program", false},
    {402, "LOSSY_QUERY", "an answer would lose information", false},
    {500, "NOT_FOUND", "the driver does not find a name in a compiled kernel", false},
    {600, "NOT_READY", "the work is not done yet", false},
    {700, "ILLEGAL_ADDRESS", "a kernel used an address that is not its own" NEW_PROCESS, true},
    {701, "LAUNCH_OUT_OF_RESOURCES", "a kernel needs more registers or shared memory than this GPU has", false},
    {702, "LAUNCH_TIMEOUT", "a kernel ran longer than the system allows while the GPU drives a screen" NEW_PROCESS,
     true},
    {703, "LAUNCH_INCOMPATIBLE_TEXTURING", "a kernel uses textures in a mode that does not fit", false},
    {704, "PEER_ACCESS_ALREADY_ENABLED", "access between GPUs is on already", false},
    {705, "PEER_ACCESS_NOT_ENABLED", "access between GPUs is not on", false},
    {708, "PRIMARY_CONTEXT_ACTIVE", "the GPU's context is in use already", false},
    {709, "CONTEXT_IS_DESTROYED", "the GPU's context is gone" NEW_PROCESS, true},
    {710, "ASSERT", "a kernel found something impossible and stopped" NEW_PROCESS, true},
    {711, "TOO_MANY_PEERS", "too many GPUs want to reach each other's memory", false},
    {712, "HOST_MEMORY_ALREADY_REGISTERED", "host memory is registered already", false},
    {713, "HOST_MEMORY_NOT_REGISTERED", "host memory is not registered", false},
    {714, "HARDWARE_STACK_ERROR", "a kernel broke the GPU's call stack" NEW_PROCESS, true},
    {715, "ILLEGAL_INSTRUCTION", "a kernel has an instruction that this GPU does not have" NEW_PROCESS, true},
    {716, "MISALIGNED_ADDRESS", "a kernel used an address that is not aligned" NEW_PROCESS, true},
    {717, "INVALID_ADDRESS_SPACE", "a kernel used an address of the wrong kind of memory" NEW_PROCESS, true},
    {718, "INVALID_PC", "a kernel jumped to where no code is" NEW_PROCESS, true},
    {719, "LAUNCH_FAILED", "a kernel failed; the driver says no more" NEW_PROCESS, true},
    {720, "COOPERATIVE_LAUNCH_TOO_LARGE", "a kernel wants more blocks at once than the GPU holds", false},
    {721, "TENSOR_MEMORY_LEAK", "a kernel did not give back tensor memory" NEW_PROCESS, true},
    {800, "NOT_PERMITTED", "this user may not do that on the GPU", false},
    {801, "NOT_SUPPORTED", "the GPU or its driver cannot do that", false},
    {802, "SYSTEM_NOT_READY", "the system is not ready for CUDA; on machines with NVSwitch its fabric manager must run",
     false},
    {803, "SYSTEM_DRIVER_MISMATCH",
     "the driver's library and its kernel module are of different versions; restart the machine after an update",
     false},
    {804, "COMPAT_NOT_SUPPORTED_ON_DEVICE",
     "the compatibility libraries do not work with this GPU; take them out of the library path", false},
    {805, "MPS_CONNECTION_FAILED", "the multi-process service cannot be reached", false},
    {806, "MPS_RPC_FAILURE", "the multi-process service does not answer", false},
    {807, "MPS_SERVER_NOT_READY", "the multi-process service is not ready; try again", false},
    {808, "MPS_MAX_CLIENTS_REACHED", "the multi-process service has all the processes it can take", false},
    {809, "MPS_MAX_CONNECTIONS_REACHED", "the multi-process service has all the connections it can take", false},
    {810, "MPS_CLIENT_TERMINATED", "the multi-process service ended this process's work" NEW_PROCESS, true},
    {811, "CDP_NOT_SUPPORTED", "a kernel starts kernels, which this GPU cannot", false},
    {812, "CDP_VERSION_MISMATCH", "a kernel starts kernels of another version", false},
    {900, "STREAM_CAPTURE_UNSUPPORTED", "a call that cannot be captured in a graph; this is a fault of this program",
     false},
    {901, "STREAM_CAPTURE_INVALIDATED", "a graph could not be captured, because an earlier call failed", false},
    {902, "STREAM_CAPTURE_MERGE", "two captures would become one; this is a fault of this program", false},
    {903, "STREAM_CAPTURE_UNMATCHED", "a capture was ended that was not begun", false},
    {904, "STREAM_CAPTURE_UNJOINED", "a captured stream was never waited for", false},
    {905, "STREAM_CAPTURE_ISOLATION", "a capture depends on work outside it", false},
    {906, "STREAM_CAPTURE_IMPLICIT", "a capture would wait for the default stream", false},
    {907, "CAPTURED_EVENT", "an event of a capture is asked for outside it", false},
    {908, "STREAM_CAPTURE_WRONG_THREAD", "a capture was ended by another thread", false},
    {909, "TIMEOUT", "the driver waited too long", false},
    {910, "GRAPH_EXEC_UPDATE_FAILURE", "a captured graph cannot be changed like that", false},
    {911, "EXTERNAL_DEVICE", "a device beside the GPU failed" NEW_PROCESS, true},
    {912, "INVALID_CLUSTER_SIZE", "a cluster of blocks has a size this GPU cannot have", false},
    {913, "FUNCTION_NOT_LOADED", "a kernel has not been loaded", false},
    {914, "INVALID_RESOURCE_TYPE", "the driver does not know a kind of resource", false},
    {915, "INVALID_RESOURCE_CONFIGURATION", "the GPU cannot be divided like that", false},
    {916, "KEY_ROTATION", "the GPU changes its keys; try again", false},
    {999, "UNKNOWN", "the driver failed and does not say why; the system's log (dmesg) may" NEW_PROCESS, true},
};

/* nvrtcResult, 13.0. */
static const CudaCode compiler_codes[] = {
    {1, "OUT_OF_MEMORY", "the kernel compiler has no memory left", false},
    {2, "PROGRAM_CREATION_FAILURE", "the kernel compiler does not start", false},
    {3, "INVALID_INPUT", "the kernel compiler refuses its input; this is a fault of this program", false},
    {4, "INVALID_PROGRAM", "the kernel compiler does not know a program; this is a fault of this program", false},
    {5, "INVALID_OPTION", "this NVRTC does not know an option: it is too old, or does not know this GPU's architecture",
     false},
    {6, "COMPILATION", "a kernel does not compile", false},
    {7, "BUILTIN_OPERATION_FAILURE",
     "NVRTC does not find libnvrtc-builtins, which belongs beside it; install the whole package", false},
    {8, "NO_NAME_EXPRESSIONS_AFTER_COMPILATION", "names were asked for too late; this is a fault of this program",
     false},
    {9, "NO_LOWERED_NAMES_BEFORE_COMPILATION", "names were asked for too early; this is a fault of this program",
     false},
    {10, "NAME_EXPRESSION_NOT_VALID", "a kernel's name is not valid; this is a fault of this program", false},
    {11, "INTERNAL_ERROR", "the kernel compiler failed; another version of NVRTC may not", false},
    {12, "TIME_FILE_WRITE_FAILED", "the kernel compiler cannot write its times", false},
    {13, "NO_PCH_CREATE_ATTEMPTED", "the kernel compiler made no precompiled header", false},
    {14, "PCH_CREATE_HEAP_EXHAUSTED", "the kernel compiler has no room for a precompiled header", false},
    {15, "PCH_CREATE", "the kernel compiler cannot make a precompiled header", false},
    {16, "CANCELLED", "the compilation was cancelled", false},
    {17, "TIME_TRACE_FILE_WRITE_FAILED", "the kernel compiler cannot write its trace", false},
};

static const CudaCode *find(const CudaCode *codes, int count, int code) {
    static const CudaCode unknown = {-1, "of a newer version", "a failure that this program does not know", false};
    for (int i = 0; i < count; i++)
        if (codes[i].code == code) return &codes[i];
    return &unknown;
}

const CudaCode *cuda_code(int code) {
    return find(driver_codes, cuda_codes(), code);
}

const CudaCode *nvrtc_code(int code) {
    return find(compiler_codes, (int)(sizeof compiler_codes / sizeof *compiler_codes), code);
}

int cuda_codes(void) {
    return (int)(sizeof driver_codes / sizeof *driver_codes);
}

const CudaCode *cuda_code_at(int index) {
    return &driver_codes[index];
}
