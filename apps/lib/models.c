#include "apps/lib/models.h"
#include "base/err.h"
#include "base/mem.h"
#include "models/s2m2.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char s2m2_origin[] =
    "made by the authors of S2M2, CC BY-NC 4.0: for non-commercial use, not distributed here";
static const char xs_origin[] = "a size of our own; no weights have been published";
const KnownModel known_models[] = {
    {"s2m2-XS", {"s2m2-XS.safetensors"}, xs_origin},
    {"s2m2-S", {"s2m2-S.safetensors", "CH128NTR1.safetensors", "CH128NTR1.pth"}, s2m2_origin},
    {"s2m2-M", {"s2m2-M.safetensors", "CH192NTR2.safetensors", "CH192NTR2.pth"}, s2m2_origin},
    {"s2m2-L", {"s2m2-L.safetensors", "CH256NTR3.safetensors", "CH256NTR3.pth"}, s2m2_origin},
    {"s2m2-XL", {"s2m2-XL.safetensors", "CH384NTR3.safetensors", "CH384NTR3.pth"}, s2m2_origin},
};
const int known_model_count = sizeof known_models / sizeof *known_models;

const char *model_folders(void) {
    return "$PANUM_MODELS, ./models and ~/.local/share/panum/models";
}

static const KnownModel *find_model(const char *name) {
    for (int i = 0; i < known_model_count; i++)
        if (strcmp(known_models[i].name, name) == 0) return &known_models[i];
    return NULL;
}

bool model_find_weights(const char *name, char path[MODEL_PATH_MAX]) {
    const KnownModel *model = find_model(name);
    const char *named = getenv("PANUM_MODELS"), *home = getenv("HOME");
    char at_home[MODEL_PATH_MAX] = "";
    if (home && *home) snprintf(at_home, sizeof at_home, "%s/.local/share/panum/models", home);
    const char *folders[] = {named && *named ? named : NULL, "./models", *at_home ? at_home : NULL};
    for (size_t f = 0; model && f < sizeof folders / sizeof *folders; f++)
        for (int i = 0; folders[f] && i < 4 && model->files[i]; i++) {
            struct stat st;
            int n = snprintf(path, MODEL_PATH_MAX, "%s/%s", folders[f], model->files[i]);
            if (n < MODEL_PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode)) return true;
        }
    return false;
}

/* The model recorded at its smallest size: what it asks for by name does not depend on the picture. */
static Program *record(const char *name) {
    const S2m2Size *size = s2m2_size(name);
    if (!size) {
        char shown[100];
        fail(ERR_USAGE, "there is no model '%s'; panum model list shows them", err_printable(shown, sizeof shown, name));
        return NULL;
    }
    Program *program = program_make();
    if (!program) return NULL;
    Net net = {.program = program};
    int64_t shape[4] = {2, 3, 64, 64};
    Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, shape);
    s2m2(&net, pictures, (S2m2Options){.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3});
    return program;
}

static void note(ModelFit *fit, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(ModelFit *fit, const char *format, ...) {
    size_t used = strlen(fit->details);
    if (used + 160 > sizeof fit->details) return;
    used += (size_t)snprintf(fit->details + used, sizeof fit->details - used, "%s", used ? ", " : "");
    va_list args;
    va_start(args, format);
    vsnprintf(fit->details + used, sizeof fit->details - used, format, args);
    va_end(args);
}

static bool same_shape(const WeightEntry *entry, const Tensor *t) {
    if (entry->rank != t->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (entry->size[i] != t->size[i]) return false;
    return true;
}

int model_compare(const Weights *weights, const char *name, ModelFit *fit) {
    memset(fit, 0, sizeof *fit);
    Program *program = record(name);
    if (!program) return err_code();
    int known = 0;
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_WEIGHT) continue;
        fit->wanted++;
        fit->parameters += tensor_count(t);
        const WeightEntry *entry = weights_find(weights, t->name);
        if (!entry) {
            if (fit->missing++ < 2) note(fit, "%.80s is missing", t->name);
            continue;
        }
        known++;
        if (same_shape(entry, t)) continue;
        char has[WEIGHT_SHAPE_TEXT], wants[WEIGHT_SHAPE_TEXT];
        if (fit->misshapen++ < 2)
            note(fit, "%.80s is %.40s instead of %.40s", t->name,
                 weight_shape_text(entry->rank, entry->size, has, sizeof has),
                 weight_shape_text(t->rank, t->size, wants, sizeof wants));
    }
    fit->unexpected = weights_count(weights) - known;
    for (int i = 0, shown = 0; fit->unexpected && shown < 2 && i < weights_count(weights); i++) {
        const WeightEntry *entry = weights_entry(weights, i);
        const Tensor *t = program_find(program, entry->name);
        char name_shown[120];
        if (!t || t->kind != TENSOR_WEIGHT) {
            err_printable(name_shown, sizeof name_shown, entry->name);
            note(fit, "%.80s is not expected", name_shown);
            shown++;
        }
    }
    program_drop(program);
    return 0;
}

int64_t model_parameters(const char *name) {
    Program *program = record(name);
    if (!program) return -1;
    int64_t count = 0;
    for (int i = 0; i < program_tensors(program); i++)
        if (program_tensor(program, i)->kind == TENSOR_WEIGHT) count += tensor_count(program_tensor(program, i));
    program_drop(program);
    return count;
}

const char *model_identify(const Weights *weights) {
    for (int i = 0; i < known_model_count; i++) {
        ModelFit fit;
        if (model_compare(weights, known_models[i].name, &fit) == 0 && !fit.missing && !fit.misshapen &&
            !fit.unexpected)
            return known_models[i].name;
    }
    err_clear();
    return NULL;
}
