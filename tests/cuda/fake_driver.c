/* tests/cuda/fake_driver.c - a libcuda that fails as told, so that every sentence about drivers and devices can be had
 * without one, and an NVRTC in the same file that knows sm_75 to sm_90 and "compiles" to one byte, or to a line of PTX.
 *
 * $FAKE_CUDA says how, as words: "version=12020 init=100 devices=1 arch=86 memory=2 finish=700 load=222 capture=901".
 * Each is the answer of that call; 0, or absent, is success. Sizes: one GPU of 8 GB, of which the last GB is free. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int told(const char *name, int otherwise) {
    const char *all = getenv("FAKE_CUDA"), *at = all;
    size_t n = strlen(name);
    while (at && (at = strstr(at, name)) != NULL) {
        if ((at == all || at[-1] == ' ') && at[n] == '=') return atoi(at + n + 1);
        at += n;
    }
    return otherwise;
}

#define CALL(name, arguments, ...) \
    int name arguments;            \
    int name arguments {           \
        __VA_ARGS__                \
    }
#define UNUSED(x) (void)(x)
typedef unsigned long long Address;

/* Of a thread, as the real one's: without it these calls fail. */
static _Thread_local void *current;
#define IN_CONTEXT(name, arguments, ...) CALL(name, arguments, if (!current) return 201; __VA_ARGS__)

CALL(cuDriverGetVersion, (int *v), *v = told("version", 13000); return 0;)
CALL(cuInit, (unsigned f), UNUSED(f); return told("init", 0);)
CALL(cuDeviceGetCount, (int *n), *n = told("devices", 1); return 0;)
CALL(cuDeviceGet, (int *d, int i), *d = i; return 0;)
CALL(cuDeviceGetName, (char *n, int size, int d), UNUSED(d); snprintf(n, (size_t)size, "Fake GPU"); return 0;)
CALL(cuDeviceGetAttribute, (int *v, int a, int d), UNUSED(d); int arch = told("arch", 86); *v = a == 75   ? arch / 10
                                                                                                : a == 76 ? arch % 10
                                                                                                : a == 97 ? 101376
                                                                                                          : 24;
     return 0;)
CALL(cuDeviceTotalMem_v2, (size_t * b, int d), UNUSED(d); *b = (size_t)8 << 30; return 0;)
CALL(cuDevicePrimaryCtxRetain, (void **c, int d), UNUSED(d); *c = c; return told("context", 0);)
CALL(cuDevicePrimaryCtxRelease_v2, (int d), UNUSED(d); return 0;)
CALL(cuCtxSetCurrent, (void *c), current = c; return 0;)
IN_CONTEXT(cuMemGetInfo_v2, (size_t * f, size_t *a), *f = (size_t)1 << 30; *a = (size_t)8 << 30; return 0;)
IN_CONTEXT(cuMemAlloc_v2, (Address * a, size_t b), int code = told("memory", 0);
           *a = code ? 0 : (Address)(size_t)calloc(1, b); return code;)
IN_CONTEXT(cuMemFree_v2, (Address a), free((void *)(size_t)a); return 0;)
IN_CONTEXT(cuMemHostAlloc, (void **a, size_t b, unsigned f), UNUSED(f); *a = malloc(b); return told("pinned", 0);)
IN_CONTEXT(cuMemFreeHost, (void *a), free(a); return 0;)
IN_CONTEXT(cuMemcpyHtoDAsync_v2, (Address t, const void *f, size_t b, void *s), UNUSED(s);
           memcpy((void *)(size_t)t, f, b); return told("copy", 0);)
IN_CONTEXT(cuMemcpyDtoHAsync_v2, (void *t, Address f, size_t b, void *s), UNUSED(s); memcpy(t, (void *)(size_t)f, b);
           return told("copy", 0);)
IN_CONTEXT(cuMemcpyDtoDAsync_v2, (Address t, Address f, size_t b, void *s), UNUSED(s);
           memmove((void *)(size_t)t, (void *)(size_t)f, b); return told("copy", 0);)
IN_CONTEXT(cuMemsetD8Async, (Address a, unsigned char v, size_t b, void *s), UNUSED(s); memset((void *)(size_t)a, v, b);
           return 0;)
IN_CONTEXT(cuStreamCreate, (void **s, unsigned f), UNUSED(f); *s = s; return told("stream", 0);)
IN_CONTEXT(cuStreamDestroy_v2, (void *s), UNUSED(s); return 0;)
IN_CONTEXT(cuStreamSynchronize, (void *s), UNUSED(s); return told("finish", 0);)
IN_CONTEXT(cuStreamWaitEvent, (void *s, void *e, unsigned f), UNUSED(s); UNUSED(e); UNUSED(f); return 0;)
IN_CONTEXT(cuEventCreate, (void **e, unsigned f), UNUSED(f); *e = e; return told("event", 0);)
IN_CONTEXT(cuEventDestroy_v2, (void *e), UNUSED(e); return 0;)
IN_CONTEXT(cuEventRecord, (void *e, void *s), UNUSED(s); UNUSED(e); return 0;)
IN_CONTEXT(cuEventSynchronize, (void *e), UNUSED(e); return told("finish", 0);)
IN_CONTEXT(cuEventElapsedTime, (float *m, void *a, void *b), UNUSED(a); UNUSED(b); *m = 2; return 0;)
/* what this NVRTC has made, or PTX */
IN_CONTEXT(cuModuleLoadData, (void **m, const void *i), *m = m;
           if (*(const char *)i && strncmp(i, ".version ", 9) != 0) return 218; return told("load", 0);)
IN_CONTEXT(cuModuleUnload, (void *m), UNUSED(m); return 0;)
IN_CONTEXT(cuModuleGetFunction, (void **f, void *m, const char *n), UNUSED(m); UNUSED(n); *f = f;
           return told("function", 0);)
/* a kernel has an array of 16 KB of its own; with it, 48 KB may be had without asking */
static int dynamic_most = 32 << 10;
IN_CONTEXT(cuFuncGetAttribute, (int *v, int a, void *f), UNUSED(f); *v = a == 1 ? 16 << 10 : 0;
           return told("attribute", 0);)
IN_CONTEXT(cuFuncSetAttribute, (void *f, int a, int v), UNUSED(f); if (a != 8 || v > 101376 - (16 << 10)) return 1;
           dynamic_most = v; return 0;)
IN_CONTEXT(cuLaunchKernel,
           (void *f, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned b, void *s,
            void **a, void **e),
           UNUSED(f);
           UNUSED(s); UNUSED(e); UNUSED(a);
           if ((int)b > dynamic_most || y > 65535 || z > 65535 || tx * ty * tz > 1024) return 1;
           if (!x || !y || !z || !tx || !ty || !tz) return 1; return told("launch", 0);)
IN_CONTEXT(cuStreamBeginCapture_v2, (void *s, int m), UNUSED(s); UNUSED(m); return 0;)
IN_CONTEXT(cuStreamEndCapture, (void *s, void **g), UNUSED(s); *g = g; return told("capture", 0);)
IN_CONTEXT(cuGraphInstantiateWithFlags, (void **e, void *g, Address f), UNUSED(g); UNUSED(f); *e = e; return 0;)
IN_CONTEXT(cuGraphUpload, (void *e, void *s), UNUSED(s); UNUSED(e); return 0;)
IN_CONTEXT(cuGraphLaunch, (void *e, void *s), UNUSED(s); UNUSED(e); return 0;)
IN_CONTEXT(cuGraphExecDestroy, (void *e), UNUSED(e); return 0;)
IN_CONTEXT(cuGraphDestroy, (void *g), UNUSED(g); return 0;)

CALL(nvrtcVersion, (int *a, int *b), *a = told("nvrtc", 130) / 10; *b = told("nvrtc", 130) % 10; return 0;)
CALL(nvrtcGetNumSupportedArchs, (int *n), *n = told("archs", 3); return 0;)
CALL(nvrtcGetSupportedArchs, (int *a), a[0] = 75; a[1] = 86; a[2] = 90; return 0;)
CALL(nvrtcCreateProgram, (void **p, const char *t, const char *n, int h, const char *const *a, const char *const *b),
     UNUSED(t);
     UNUSED(n); UNUSED(h); UNUSED(a); UNUSED(b); *p = p; return 0;)
CALL(nvrtcCompileProgram, (void *p, int n, const char *const *o), UNUSED(p); char want[40]; int arch = told("arch", 86);
     snprintf(want, sizeof want, "--gpu-architecture=%s_%d", arch > 90 ? "compute" : "sm", arch > 90 ? 90 : arch);
     if (!n || strcmp(o[0], want) != 0) return 5; return told("compile", 0);)
CALL(nvrtcGetProgramLogSize, (void *p, size_t *b), UNUSED(p); *b = 40; return 0;)
CALL(nvrtcGetProgramLog, (void *p, char *l), UNUSED(p); snprintf(l, 40, "x.cu(7): error: it is wrong\nmore"); return 0;)
CALL(nvrtcGetCUBINSize, (void *p, size_t *b), UNUSED(p); *b = 1; return 0;)
CALL(nvrtcGetCUBIN, (void *p, char *c), UNUSED(p); *c = 0; return 0;)
CALL(nvrtcDestroyProgram, (void **p), *p = 0; return 0;)
CALL(nvrtcGetPTXSize, (void *p, size_t *b), UNUSED(p); *b = 14; return 0;)
CALL(nvrtcGetPTX, (void *p, char *c), UNUSED(p); memcpy(c, ".version 8.0\n", 14); return 0;)
