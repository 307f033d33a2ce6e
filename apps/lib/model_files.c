#include "apps/lib/model_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

bool model_folder(int index, char *out, size_t size) {
    const char *models = getenv("PANUM_MODELS"), *home = getenv("HOME");
    if (models && *models && index-- == 0) return snprintf(out, size, "%s", models) < (int)size;
    if (index-- == 0) return snprintf(out, size, "models") < (int)size;
    if (home && *home && index-- == 0) return snprintf(out, size, "%s/.local/share/panum/models", home) < (int)size;
    return false;
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
    for (int f = 0; model_folder(f, folder, sizeof folder); f++)
        for (int i = 0; i < 3; i++)
            if (names[i] && snprintf(out, size, "%s/%s", folder, names[i]) < (int)size && access(out, R_OK) == 0)
                return true;
    return false;
}
