#include "apps/lib/model_files.h"
#include "tensor/files/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where `make install` puts the weights that come with panum; the Makefile says the prefix. */
#ifndef PANUM_PREFIX
#define PANUM_PREFIX "/usr/local"
#endif
#define INSTALLED PANUM_PREFIX "/share/panum"

static const char *published_name(MatcherModel model) {
    switch (model) {
    case MODEL_S2M2_S:
        return "CH128NTR1.pth";
    case MODEL_S2M2_M:
        return "CH192NTR2.pth";
    case MODEL_S2M2_L:
        return "CH256NTR3.pth";
    case MODEL_S2M2_XL:
        return "CH384NTR3.pth";
    case MODEL_S2M2_XS:
    case MODEL_SGM:
    case MODEL_AUTO:
        break;
    }
    return NULL;
}

/* The folder that the running program lies in, without the final slash ("" for the root); false where the system does
 * not tell. */
static bool program_folder(char *out, size_t size) {
    ssize_t n = readlink("/proc/self/exe", out, size);
    if (n <= 0 || (size_t)n >= size) return false;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

/* The folders of what comes with panum itself: beside the program; as the source tree has it, the program being in
 * build/; as it is installed, the program being in bin/; and, for programs that panum is linked into, where it was
 * installed when it was built. */
static bool own_folder(int index, char *out, size_t size) {
    char program[2048];
    bool known = program_folder(program, sizeof program);
    if (known && index-- == 0) return snprintf(out, size, "%s/", program) < (int)size;
    char *slash = known ? strrchr(program, '/') : NULL;
    if (slash) {
        *slash = 0;
        if (index-- == 0) return snprintf(out, size, "%s/weights", program) < (int)size;
        if (index-- == 0) return snprintf(out, size, "%s/share/panum", program) < (int)size;
        strncat(program, "/share/panum", sizeof program - strlen(program) - 1);
        if (strcmp(program, INSTALLED) == 0) return false;
    }
    return index == 0 && snprintf(out, size, INSTALLED) < (int)size;
}

bool model_folder(int index, char *out, size_t size) {
    const char *models = getenv("PANUM_MODELS"), *home = getenv("HOME");
    if (models && *models && index-- == 0) return snprintf(out, size, "%s", models) < (int)size;
    if (index-- == 0) return snprintf(out, size, "models") < (int)size;
    if (home && *home && index-- == 0) return snprintf(out, size, "%s/.local/share/panum/models", home) < (int)size;
    return own_folder(index, out, size);
}

const char *model_file_names(MatcherModel model, char *out, size_t size) {
    const char *published = published_name(model);
    snprintf(out, size, "%s.safetensors%s%s", matcher_model_name(model), published ? " or " : "",
             published ? published : "");
    return out;
}

bool model_file_find(MatcherModel model, char *out, size_t size) {
    char folder[2048], own[64], own_pth[64];
    snprintf(own, sizeof own, "%s.safetensors", matcher_model_name(model));
    snprintf(own_pth, sizeof own_pth, "%s.pth", matcher_model_name(model));
    const char *names[] = {own, own_pth, published_name(model)};
    for (int f = 0; model_folder(f, folder, sizeof folder); f++) {
        const char *between = folder[strlen(folder) - 1] == '/' ? "" : "/";
        for (int i = 0; i < 3; i++)
            if (names[i] && snprintf(out, size, "%s%s%s", folder, between, names[i]) < (int)size &&
                access(out, F_OK) == 0)
                return true; /* one that is there and cannot be read is said, not passed over */
    }
    return false;
}

bool model_file_wants_auto(const char *path) {
    Weights *weights;
    if (weights_open(path, &weights)) {
        err_clear();
        return true;
    }
    const char *said = weights_metadata(weights, "auto");
    bool wants = !said || strncmp(said, "no", 2) != 0;
    weights_close(weights);
    return wants;
}
