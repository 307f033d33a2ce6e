/* apps/model.c - weights: which there are, what a file holds, another form of it, whether it is sound. */
#include "apps/lib/matcher.h"
#include "apps/lib/model_files.h"
#include "apps/lib/models.h"
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "apps/lib/show.h"
#include "base/err.h"
#include "base/json.h"
#include "tensor/files/describe.h"

#include <string.h>

typedef struct {
    const char *output, *model, *strip;
    OptionList notes;
    bool overwrite, json, tensors, allow_nonfinite;
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
     .shown = "NAME.safetensors: beside the input, or here for seed",
     .group = "convert, seed",
     .help = "the .safetensors file to write"},
    OPTION_OVERWRITE(ModelOptions, overwrite, "convert, seed"),
    {.name = "dtype",
     .kind = OPTION_CHOICE,
     .value = "T",
     .choices = "same|f32|f16|bf16",
     .standard = "same",
     AT(dtype),
     .group = "convert",
     .help = "numbers to store; same keeps those of the file"},
    {.name = "strip-prefix",
     .kind = OPTION_TEXT,
     .value = "TEXT",
     AT(strip),
     .group = "convert",
     .help = "take this off the front of the names that have it (module. for one)"},
    {.name = "note",
     .kind = OPTION_PATHS,
     .value = "KEY=TEXT",
     AT(notes),
     .group = "convert",
     .help = "say this in the file (licence=Apache-2.0), where panum model info reads it; what the file said under the "
             "key before is gone, and KEY= leaves nothing; may be repeated"},
    {.name = "allow-nonfinite",
     .kind = OPTION_FLAG,
     AT(allow_nonfinite),
     .group = "convert",
     .help = "copy NaN and infinity instead of refusing them"},
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
    .operands = "list|info|convert|verify|seed [FILE|NAME]",
    .words = "list|info|convert|verify|seed|" S2M2_MODELS,
    .summary = "list models, look into a weight file, convert it to safetensors, verify it, make one up",
    .description =
        "list: the models there are and where their weights were found. info FILE: what a file holds. "
        "convert FILE: a .pth "
        "(zip or legacy) or .safetensors file as safetensors, with what it says about itself. verify FILE: every byte "
        "is read, every number "
        "is finite, and all "
        "tensors of the model are there in their shapes; every name that differs is listed. seed NAME: a file of the "
        "network's shapes with made-up "
        "numbers that follow from the parameters' names, to measure and to test with; it matches nothing.\n\n"
        "Weights are data here: nothing in a file is executed, and no path in it is opened.",
    .examples = "  panum model info CH128NTR1.pth\n"
                "  panum model convert CH128NTR1.pth -o models/s2m2-S.safetensors\n"
                "  panum model convert best.safetensors --dtype f16 --note licence=Apache-2.0 -o s2m2-XS.safetensors\n"
                "  panum model verify models/s2m2-S.safetensors --model s2m2-S\n"
                "  panum model seed s2m2-S -o seeded.safetensors",
    .least = 1,
    .most = 2,
    .run = app_model,
    .options = options,
    .count = sizeof options / sizeof *options,
};

static int list(const ModelOptions *o) {
    char folders[3000] = "";
    for (int i = 0;; i++) {
        char folder[1000];
        if (!model_folder(i, folder, sizeof folder)) break;
        size_t used = strlen(folders);
        snprintf(folders + used, sizeof folders - used, "%s%s", used ? ", " : "", show_path(folder));
    }
    const MatcherOptions usual = matcher_defaults();
    const MatcherModel chosen = matcher_choice(&usual);
    if (o->json) printf("[");
    for (int i = MODEL_S2M2_XS; i <= MODEL_S2M2_XL; i++) {
        MatcherModel model = (MatcherModel)i;
        char path[4096], quoted[8300], names[300];
        bool found = model_file_find(model, path, sizeof path);
        int64_t parameters = model_parameters(model);
        if (parameters < 0) return err_code();
        if (o->json) {
            printf("%s{\"name\":\"%s\",\"parameters\":%lld,\"weights\":%s,", i > MODEL_S2M2_XS ? "," : "",
                   matcher_model_name(model), (long long)parameters,
                   found ? json_quote(quoted, sizeof quoted, path) : "null");
            printf("\"default\":%s,\"origin\":%s}", model == chosen ? "true" : "false",
                   json_quote(quoted, sizeof quoted, model_origin(model)));
            continue;
        }
        printf("%-8s %6.1f M parameters; %s\n", matcher_model_name(model), (double)parameters / 1e6,
               model_origin(model));
        if (found)
            printf("         found: %s\n", show_path(path));
        else
            printf("         not found: %s\n", model_file_names(model, names, sizeof names));
    }
    if (o->json)
        printf("]\n");
    else
        printf("%-8s needs no weights\nlooked for in %s\npanum match takes %s unless it is told otherwise\n", "sgm",
               folders, matcher_model_name(chosen));
    return 0;
}

/* Names come from the file: whatever is in them, a terminal gets only what can be printed. */
static void print_lines(const char *text) {
    char line[2048], shown[4 * sizeof line];
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
        printf("%s\n", err_printable(shown, sizeof shown, line));
    }
}

static int compare(const ModelOptions *o, const Weights *w, MatcherModel model) {
    WeightsDifference difference = {0};
    int rc = model_fits(w, model, &difference);
    if (rc && difference.report && !o->json) print_lines(difference.report);
    weights_difference_free(&difference);
    return rc;
}

/* A model that was asked for is compared first: names and shapes stand in the header, values may be many gigabytes. One
 * that is only guessed is compared last, since damage says more than what a damaged file does not fit. */
static int verify(const ModelOptions *o, const Weights *w) {
    char guess[64];
    MatcherModel model = MODEL_AUTO;
    int rc = o->model ? model_by_name(o->model, &model) : 0;
    if (!rc && model != MODEL_AUTO) rc = compare(o, w, model);
    if (!rc) rc = weights_check_all(w);
    if (!rc && !o->model && weights_guess_model(w, guess, sizeof guess) && !model_by_name(guess, &model))
        rc = compare(o, w, model);
    if (rc) return rc;
    char quoted[2048];
    if (o->json) {
        printf("{\"file\":%s,", json_quote(quoted, sizeof quoted, weights_path(w)));
        printf("\"sound\":true,\"tensors\":%d,\"parameters\":%lld,\"model\":%s}\n", weights_count(w),
               (long long)weights_parameters(w),
               model ? json_quote(quoted, sizeof quoted, matcher_model_name(model)) : "null");
    } else {
        printf("%s: sound: %d tensors, %lld numbers, all finite; %s%s\n", show_path(weights_path(w)), weights_count(w),
               (long long)weights_parameters(w), model ? "all tensors of " : "of no network known here",
               model ? matcher_model_name(model) : "");
    }
    return 0;
}

/* Opens what -o says, or STEM.safetensors. */
static int open_output(const ModelOptions *o, const char *stem, int length, Arena *arena, const char **path,
                       Out **out) {
    *path = o->output ? o->output : arena_format(arena, "%.*s.safetensors", length, stem);
    if (!*path) return ERR_MEMORY;
    if (strlen(*path) < 12 || strcmp(*path + strlen(*path) - 12, ".safetensors") != 0)
        return usage_error(&verb_model, "%s: only .safetensors files are written", show_path(*path));
    return out_open(*path, o->overwrite ? OUT_OVERWRITE : OUT_NEW, out);
}

static int finish_output(int rc, Out **out) {
    if (!rc && run_stopped()) rc = run_stop("nothing was written");
    if (!rc) return out_commit(out);
    out_abort(out);
    return rc;
}

static int seed(const ModelOptions *o, const char *name, Arena *arena) {
    MatcherModel model;
    const char *path;
    Out *out;
    int rc = model_by_name(name, &model);
    if (!rc) rc = open_output(o, name, (int)strlen(name), arena, &path, &out);
    if (!rc) rc = finish_output(model_write_seeded(model, out), &out);
    if (!rc) say("%s: the shapes of %s with numbers that follow from the names; never trained", show_path(path), name);
    return rc;
}

/* KEY=TEXT as it was given, into what the file is to say. */
static int parse_notes(const ModelOptions *o, Arena *arena, SafetensorsNote **notes) {
    *notes = arena_alloc(arena, (size_t)(o->notes.count + 1) * sizeof **notes);
    if (!*notes) return ERR_MEMORY;
    for (int i = 0; i < o->notes.count; i++) {
        const char *text = o->notes.items[i], *equals = strchr(text, '=');
        if (!equals || equals == text)
            return usage_error(&verb_model, "--note '%s' is not KEY=TEXT, as in licence=Apache-2.0", show_path(text));
        (*notes)[i] = (SafetensorsNote){arena_format(arena, "%.*s", (int)(equals - text), text), equals + 1};
        if (!(*notes)[i].key) return ERR_MEMORY;
        for (int k = 0; k < i; k++)
            if (strcmp((*notes)[k].key, (*notes)[i].key) == 0)
                return usage_error(&verb_model, "--note says '%s' twice", show_path((*notes)[i].key));
    }
    return 0;
}

static int convert(const ModelOptions *o, const Weights *w, const char *input, Arena *arena) {
    static const WeightDType dtypes[] = {
        [DTYPE_TO_F32] = WEIGHT_F32, [DTYPE_TO_F16] = WEIGHT_F16, [DTYPE_TO_BF16] = WEIGHT_BF16};
    WeightsConvert how = {.keep_dtype = o->dtype == DTYPE_SAME,
                          .dtype = dtypes[o->dtype],
                          .allow_nonfinite = o->allow_nonfinite,
                          .strip_prefix = o->strip};
    const char *slash = strrchr(input, '/'), *dot = strrchr(slash ? slash : input, '.'), *path;
    Out *out;
    SafetensorsNote *notes;
    int rc = parse_notes(o, arena, &notes);
    if (rc) return rc;
    how.notes = notes;
    how.note_count = o->notes.count;
    rc = open_output(o, input, (int)(dot ? dot - input : (long)strlen(input)), arena, &path, &out);
    if (!rc) rc = finish_output(weights_convert(w, &how, out), &out);
    if (!rc)
        say("%s: %d tensors%s%s", show_path(path), weights_count(w), how.keep_dtype ? "" : ", floats as ",
            how.keep_dtype ? "" : weight_dtype_name(how.dtype));
    return rc;
}

static int check_usage(const Parsed *parsed, const char *subject, bool *needs_file) {
    static const char *const subjects[] = {"list", "info", "convert", "verify", "seed"};
    enum { SUBJECTS = sizeof subjects / sizeof *subjects };
    static const struct {
        const char *option, *subject, *other; /* other: NULL, or a second one that it belongs to */
    } owners[] = {{"output", "convert", "seed"}, {"overwrite", "convert", "seed"},
                  {"dtype", "convert", NULL},    {"strip-prefix", "convert", NULL},
                  {"note", "convert", NULL},     {"allow-nonfinite", "convert", NULL},
                  {"model", "verify", NULL},     {"tensors", "info", NULL}};
    bool known = false;
    for (int i = 0; i < SUBJECTS; i++) known |= strcmp(subject, subjects[i]) == 0;
    if (!known) {
        const char *nearest = nearest_name(subject, subjects, SUBJECTS, sizeof *subjects);
        return usage_error(&verb_model, "'%s' is not one of list, info, convert, verify, seed%s%s%s",
                           show_path(subject), nearest ? "; did you mean " : "", nearest ? nearest : "",
                           nearest ? "?" : "");
    }
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++)
        if (option_given(&verb_model, parsed, owners[i].option) && strcmp(subject, owners[i].subject) != 0 &&
            (!owners[i].other || strcmp(subject, owners[i].other) != 0))
            return usage_error(&verb_model, "--%s belongs to panum model %s%s%s", owners[i].option, owners[i].subject,
                               owners[i].other ? " and " : "", owners[i].other ? owners[i].other : "");
    const bool lists = strcmp(subject, "list") == 0, seeds = strcmp(subject, "seed") == 0;
    *needs_file = !lists && !seeds;
    if (!lists && parsed->operand_count < 2)
        return usage_error(&verb_model, "which %s? panum model %s %s", seeds ? "network" : "file", subject,
                           seeds ? "NAME" : "FILE");
    if (lists && parsed->operand_count > 1)
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
            rc = show_weights(weights, o.json, o.tensors);
        else if (*subject == 'v')
            rc = verify(&o, weights);
        else if (*subject == 's')
            rc = seed(&o, parsed.operands[1], parsed.arena);
        else
            rc = convert(&o, weights, parsed.operands[1], parsed.arena);
    }
    weights_close(weights);
    parsed_free(&parsed);
    return rc;
}
