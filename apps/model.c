/* apps/model.c - weights: which there are, what a file holds, another form of it, whether it is sound. */
#include "apps/lib/models.h"
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "base/err.h"
#include "base/json.h"
#include "tensor/files/safetensors.h"

#include <string.h>

typedef struct {
    const char *output, *model;
    bool overwrite, json, tensors;
    int dtype;
    TalkOptions talk;
} ModelOptions;

enum { DTYPE_SAME, DTYPE_TO_F32, DTYPE_TO_F16, DTYPE_TO_BF16 };

#define AT(field) .at = offsetof(ModelOptions, field)
static const Option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(output),
     .shown = "NAME.safetensors beside the input",
     .group = "convert",
     .help = "the .safetensors file to write"},
    {.name = "overwrite",
     .letter = 'y',
     .kind = OPTION_FLAG,
     AT(overwrite),
     .group = "convert",
     .help = "replace a file that exists"},
    {.name = "dtype",
     .kind = OPTION_CHOICE,
     .value = "T",
     .choices = "same|f32|f16|bf16",
     .standard = "same",
     AT(dtype),
     .group = "convert",
     .help = "numbers to store; same keeps those of the file"},
    {.name = "model",
     .kind = OPTION_TEXT,
     .value = "NAME",
     AT(model),
     .shown = "the one it fits",
     .group = "verify",
     .help = "the model whose tensors the file must hold, all of them and no others: s2m2-S"},
    {.name = "tensors", .kind = OPTION_FLAG, AT(tensors), .group = "info", .help = "list every tensor"},
    {.name = "json", .kind = OPTION_FLAG, AT(json), .group = "Talking", .help = "one JSON object on standard output"},
    OPTIONS_TALK(ModelOptions, talk),
};

int app_model(int argc, char **argv);
const Verb verb_model = {
    .name = "model",
    .operands = "list|info|convert|verify [FILE]",
    .summary = "list models, look into a weight file, convert it to safetensors, verify it",
    .description = "list: the models there are and where their weights were found. info FILE: what a file holds. "
                   "convert FILE: a .pth "
                   "(zip or legacy) or .safetensors file as safetensors. verify FILE: every byte is read, every number "
                   "is finite, and all "
                   "tensors of the model are there in their shapes.\n\n"
                   "Weights are data here: nothing in a file is executed, and no path in it is opened.",
    .examples = "  panum model info CH128NTR1.pth\n"
                "  panum model convert CH128NTR1.pth -o models/s2m2-S.safetensors\n"
                "  panum model verify models/s2m2-S.safetensors --model s2m2-S",
    .least = 1,
    .most = 2,
    .run = app_model,
    .options = options,
    .count = sizeof options / sizeof *options,
};

static int list(const ModelOptions *o) {
    if (o->json) printf("[");
    for (int i = 0; i < known_model_count; i++) {
        const KnownModel *m = &known_models[i];
        char path[MODEL_PATH_MAX], quoted[2 * MODEL_PATH_MAX];
        bool found = model_find_weights(m->name, path);
        int64_t parameters = model_parameters(m->name);
        if (parameters < 0) return err_code();
        if (o->json) {
            printf("%s{\"name\":\"%s\",\"parameters\":%lld,\"weights\":%s,", i ? "," : "", m->name,
                   (long long)parameters, found ? json_quote(quoted, sizeof quoted, path) : "null");
            printf("\"origin\":%s}", json_quote(quoted, sizeof quoted, m->origin));
        } else {
            printf("%-8s %6.1f M parameters  %s\n", m->name, (double)parameters / 1e6, m->origin);
            if (found)
                printf("         %s\n", show_path(path));
            else {
                printf("         not found; put");
                for (int f = 0; f < 4 && m->files[f]; f++) printf("%s %s", f ? " or" : "", m->files[f]);
                printf(" in one of %s\n", model_folders());
            }
        }
    }
    if (o->json)
        printf("]\n");
    else
        printf("%-8s needs no weights\n", "sgm");
    return 0;
}

static void print_tensor(const WeightEntry *entry) {
    char shape[WEIGHT_SHAPE_TEXT];
    printf("  %-5s %-20s %s\n", weight_dtype_name(entry->dtype),
           weight_shape_text(entry->rank, entry->size, shape, sizeof shape), show_path(entry->name));
}

static int info(const ModelOptions *o, const Weights *w) {
    const char *model = model_identify(w);
    const char *note = weights_metadata(w, "license");
    if (!note) note = weights_metadata(w, "licence");
    int64_t per_dtype[WEIGHT_DTYPES] = {0};
    for (int i = 0; i < weights_count(w); i++) per_dtype[weights_entry(w, i)->dtype] += weights_entry(w, i)->count;
    char quoted[8300];
    if (o->json) {
        printf("{\"file\":%s,", json_quote(quoted, sizeof quoted, weights_path(w)));
        printf("\"format\":\"%s\",\"bytes\":%llu,\"tensors\":%d,\"parameters\":%lld,", weights_format(w),
               (unsigned long long)weights_file_bytes(w), weights_count(w), (long long)weights_parameters(w));
        printf("\"model\":%s,", model ? json_quote(quoted, sizeof quoted, model) : "null");
        printf("\"licence\":%s,\"dtypes\":{", note ? json_quote(quoted, sizeof quoted, note) : "null");
        for (int d = 0, n = 0; d < WEIGHT_DTYPES; d++)
            if (per_dtype[d])
                printf("%s\"%s\":%lld", n++ ? "," : "", weight_dtype_name((WeightDType)d), (long long)per_dtype[d]);
        printf("}}\n");
        return 0;
    }
    printf("%s: %s, %s, %d tensors, %.2f M numbers:", show_path(weights_path(w)), weights_format(w),
           show_bytes((double)weights_file_bytes(w)), weights_count(w), (double)weights_parameters(w) / 1e6);
    for (int d = 0; d < WEIGHT_DTYPES; d++)
        if (per_dtype[d]) printf(" %s %.2f M", weight_dtype_name((WeightDType)d), (double)per_dtype[d] / 1e6);
    printf("\n");
    if (*weights_key(w)) printf("  found under the key %s\n", show_path(weights_key(w)));
    printf("  model: %s\n", model ? model : "none that is known here");
    printf("  licence: %s\n", note ? show_path(note) : "the file does not say; ask where it came from");
    for (int i = 0; i < weights_metadata_count(w); i++) {
        const char *key, *value;
        weights_metadata_at(w, i, &key, &value);
        printf("  %s: %s\n", show_path(key), show_path(value));
    }
    if (weights_skipped(w))
        printf("  %lld values beside the tensors were passed over\n", (long long)weights_skipped(w));
    for (int i = 0; o->tensors && i < weights_count(w); i++) print_tensor(weights_entry(w, i));
    return 0;
}

static int verify(const ModelOptions *o, const Weights *w) {
    int rc = weights_check_all(w);
    if (rc) return rc;
    const char *model = model_identify(w);
    if (o->model && (!model || strcmp(model, o->model) != 0)) {
        ModelFit fit;
        rc = model_compare(w, o->model, &fit);
        if (rc) return rc;
        return fail(ERR_WEIGHTS, "%s: does not hold %s: %d missing, %d misshapen, %d unexpected of %d tensors: %s%s%s",
                    show_path(weights_path(w)), o->model, fit.missing, fit.misshapen, fit.unexpected, fit.wanted,
                    fit.details, model ? "; this file is " : "", model ? model : "");
    }
    if (o->json) {
        char quoted[2048];
        printf("{\"file\":%s,", json_quote(quoted, sizeof quoted, weights_path(w)));
        printf("\"sound\":true,\"tensors\":%d,\"parameters\":%lld,\"model\":%s}\n", weights_count(w),
               (long long)weights_parameters(w), model ? json_quote(quoted, sizeof quoted, model) : "null");
    } else {
        printf("%s: sound: %d tensors, %lld numbers, all finite; %s%s\n", show_path(weights_path(w)), weights_count(w),
               (long long)weights_parameters(w), model ? "all tensors of " : "of no model known here",
               model ? model : "");
    }
    return 0;
}

/* ---- convert
 * --------------------------------------------------------------------------------------------------------- */

static WeightDType target_dtype(int wanted, WeightDType has) {
    if (!weight_dtype_is_float(has) || wanted == DTYPE_SAME) return has;
    return wanted == DTYPE_TO_F32 ? WEIGHT_F32 : wanted == DTYPE_TO_F16 ? WEIGHT_F16 : WEIGHT_BF16;
}

/* The tensor's bytes in `dtype`, a part at a time, so that memory does not grow with the file. */
static int copy_tensor(Out *out, const Weights *w, const WeightEntry *entry, WeightDType dtype, void *part,
                       float *numbers, int64_t room) {
    int rc = 0;
    for (int64_t first = 0; !rc && first < entry->count; first += room) {
        int64_t n = entry->count - first < room ? entry->count - first : room;
        if (dtype == entry->dtype) {
            rc = weights_read_part(w, entry, first, n, part);
        } else {
            rc = weights_read_part_f32(w, entry, first, n, numbers);
            weight_from_f32(dtype, numbers, rc ? 0 : n, part);
        }
        if (!rc) rc = out_write(out, part, (size_t)n * weight_dtype_size(dtype));
    }
    return rc;
}

static int write_all(Out *out, const ModelOptions *o, const Weights *w) {
    enum { ROOM = 1 << 16 };
    int count = weights_count(w);
    SafetensorsTensor *tensors = mem_zero((size_t)count, sizeof *tensors);
    void *part = mem_alloc(ROOM * 8);
    float *numbers = mem_alloc(ROOM * sizeof *numbers);
    int notes = weights_metadata_count(w);
    SafetensorsNote *note = mem_zero((size_t)notes, sizeof *note);
    int rc = tensors && part && numbers && note ? 0 : ERR_MEMORY;
    for (int i = 0; !rc && i < notes; i++) weights_metadata_at(w, i, &note[i].key, &note[i].value);
    for (int i = 0; !rc && i < count; i++) {
        const WeightEntry *entry = weights_entry(w, i);
        tensors[i] = (SafetensorsTensor){
            .name = entry->name, .dtype = target_dtype(o->dtype, entry->dtype), .rank = entry->rank};
        memcpy(tensors[i].size, entry->size, sizeof entry->size);
    }
    if (!rc) rc = safetensors_write_header(out, tensors, count, note, notes);
    for (int i = 0; !rc && i < count; i++) {
        rc = run_stopped() ? run_stop("nothing was written")
                           : copy_tensor(out, w, weights_entry(w, i), tensors[i].dtype, part, numbers, ROOM);
    }
    mem_free(tensors);
    mem_free(part);
    mem_free(numbers);
    mem_free(note);
    return rc;
}

static int convert(const ModelOptions *o, const Weights *w, const char *input, Arena *arena) {
    const char *path = o->output;
    if (!path) {
        const char *slash = strrchr(input, '/'), *dot = strrchr(slash ? slash : input, '.');
        path = arena_format(arena, "%.*s.safetensors", (int)(dot ? dot - input : (long)strlen(input)), input);
        if (!path) return ERR_MEMORY;
    }
    if (strlen(path) < 12 || strcmp(path + strlen(path) - 12, ".safetensors") != 0)
        return usage_error(&verb_model, "%s: only .safetensors files are written", show_path(path));
    Out *out;
    int rc = weights_check_all(w);
    if (!rc) rc = out_open(path, o->overwrite ? OUT_OVERWRITE : OUT_NEW, &out);
    if (rc) return rc;
    rc = write_all(out, o, w);
    if (!rc)
        rc = out_commit(&out);
    else
        out_abort(&out);
    if (!rc)
        say("%s: %d tensors, %s numbers", show_path(path), weights_count(w),
            o->dtype == DTYPE_SAME     ? "the same"
            : o->dtype == DTYPE_TO_F32 ? "f32"
            : o->dtype == DTYPE_TO_F16 ? "f16"
                                       : "bf16");
    return rc;
}

static int check_usage(const Parsed *parsed, const char *subject, bool *needs_file) {
    static const char *const subjects[] = {"list", "info", "convert", "verify"};
    static const struct {
        const char *option, *subject;
    } owners[] = {{"output", "convert"},
                  {"overwrite", "convert"},
                  {"dtype", "convert"},
                  {"model", "verify"},
                  {"tensors", "info"}};
    bool known = false;
    for (int i = 0; i < 4; i++) known |= strcmp(subject, subjects[i]) == 0;
    if (!known) {
        const char *nearest = nearest_name(subject, subjects, 4, sizeof *subjects);
        return usage_error(&verb_model, "'%s' is not one of list, info, convert, verify%s%s%s", show_path(subject),
                           nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    }
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++)
        if (option_given(&verb_model, parsed, owners[i].option) && strcmp(subject, owners[i].subject) != 0)
            return usage_error(&verb_model, "--%s belongs to panum model %s", owners[i].option, owners[i].subject);
    *needs_file = strcmp(subject, "list") != 0;
    if (*needs_file && parsed->operand_count < 2)
        return usage_error(&verb_model, "which file? panum model %s FILE", subject);
    if (!*needs_file && parsed->operand_count > 1)
        return usage_error(&verb_model, "list takes no file; '%s' is one argument too many",
                           show_path(parsed->operands[1]));
    return 0;
}

int app_model(int argc, char **argv) {
    ModelOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_model, argc, argv, &o, &parsed);
    if (rc) return rc;
    const char *subject = parsed.operands[0];
    bool needs_file = false;
    Weights *weights = NULL;
    rc = check_usage(&parsed, subject, &needs_file);
    if (!rc) rc = talk_begin(&o.talk);
    if (!rc && needs_file) rc = weights_open(parsed.operands[1], &weights);
    if (!rc) {
        if (*subject == 'l')
            rc = list(&o);
        else if (*subject == 'i')
            rc = info(&o, weights);
        else if (*subject == 'v')
            rc = verify(&o, weights);
        else
            rc = convert(&o, weights, parsed.operands[1], parsed.arena);
    }
    weights_close(weights);
    parsed_free(&parsed);
    return rc;
}
