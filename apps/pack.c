/* apps/pack.c - two eyes' pictures into one layout: side by side, anaglyph, wiggle and the like. */
#include "apps/lib/pack.h"
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "data/map.h"
#include "data/stereo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct {
    const char *output;
    int layout, from;
    OptionLength shift;
    int64_t quality, delay;
    bool overwrite, swap_eyes;
    TalkOptions talk;
} PackOptions;

/* In the order of --layout. The tag goes into the default name: those that players look for, where there are such. */
enum { TO_PAIR, TO_SBS, TO_HSBS, TO_TB, TO_HTB, TO_CROSS, TO_ROWS, TO_WIGGLE, TO_ANAGLYPH };
static const struct {
    const char *tag, *words;
} targets[] = {
    [TO_PAIR] = {"", "a pair of pictures"},
    [TO_SBS] = {"_LRF_Full_SBS", "full side by side"},
    [TO_HSBS] = {"_LR", "half side by side"},
    [TO_TB] = {"_TBF_fulltb", "full top and bottom"},
    [TO_HTB] = {"_TB", "half top and bottom"},
    [TO_CROSS] = {"_RLF_cross", "side by side for crossed eyes"},
    [TO_ROWS] = {"_rows", "rows of both eyes in turn"},
    [TO_WIGGLE] = {"_wiggle", "a wiggle of two frames"},
    [TO_ANAGLYPH] = {"_anaglyph", "a red-cyan anaglyph"},
};
#define LAYOUTS                                                                                                    \
    "pair|sbs|hsbs|tb|htb|cross|rows|wiggle|anaglyph|anaglyph:gray|anaglyph:colour|anaglyph:half-colour|anaglyph:" \
    "optimised"
static const PackLayout pack_layouts[] = {[TO_SBS] = PACK_SBS, [TO_HSBS] = PACK_HSBS,   [TO_TB] = PACK_TB,
                                          [TO_HTB] = PACK_HTB, [TO_CROSS] = PACK_CROSS, [TO_ROWS] = PACK_ROWS};

/* In the order of --from. */
static const StereoLayout sources[] = {LAYOUT_AUTO, LAYOUT_SBS,   LAYOUT_HSBS, LAYOUT_TB,
                                       LAYOUT_HTB,  LAYOUT_CROSS, LAYOUT_ROWS, LAYOUT_MPO};

static const Option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "PATH",
     .at = offsetof(PackOptions, output),
     .group = "Output",
     .shown = "beside the input, the layout in its name",
     .help = "the picture to write, .png, .jpg or .ppm; a folder, or a name that ends in /, gets the default name; of "
             "a pair, _left and _right are "
             "put before the ending"},
    OPTION_OVERWRITE(PackOptions, overwrite, "Output"),
    {.name = "layout",
     .kind = OPTION_CHOICE,
     .value = "LAYOUT",
     .choices = LAYOUTS,
     .standard = "anaglyph",
     .at = offsetof(PackOptions, layout),
     .group = "Output",
     .help = "how the eyes lie in what is written: " LAYOUTS
             "; anaglyph alone is Dubois in linear light, a wiggle is an animated PNG"},
    {.name = "quality",
     .kind = OPTION_WHOLE,
     .value = "Q",
     .standard = "95",
     .least = 1,
     .most = 100,
     .at = offsetof(PackOptions, quality),
     .group = "Output",
     .help = "of a JPEG; anaglyphs should stay above 90, where colours keep their full resolution"},
    {.name = "delay",
     .kind = OPTION_WHOLE,
     .value = "MS",
     .standard = "200",
     .least = 20,
     .most = 5000,
     .at = offsetof(PackOptions, delay),
     .group = "Output",
     .help = "milliseconds of either frame of a wiggle"},
    {.name = "from",
     .kind = OPTION_CHOICE,
     .value = "LAYOUT",
     .choices = "auto|sbs|hsbs|tb|htb|cross|rows|mpo",
     .standard = "auto",
     .at = offsetof(PackOptions, from),
     .group = "Input",
     .help = "how the eyes lie in a single FILE: auto|sbs|hsbs|tb|htb|cross|rows|mpo"},
    {.name = "swap-eyes",
     .kind = OPTION_FLAG,
     .at = offsetof(PackOptions, swap_eyes),
     .group = "Input",
     .help = "take the left picture for the right one"},
    {.name = "shift",
     .kind = OPTION_LENGTH,
     .value = "C",
     .standard = "0",
     .at = offsetof(PackOptions, shift),
     .group = "Input",
     .least = -1e5,
     .most = 1e5,
     .help = "move the screen: everything goes back by C pixels, or by C% of the width, towards you where C is "
             "negative; disparity becomes d - C, and "
             "the pictures lose C columns at one side"},
    OPTIONS_TALK(PackOptions, talk),
};

int app_pack(int argc, char **argv);
const Verb verb_pack = {
    .name = "pack",
    .operands = "LEFT [RIGHT]",
    .summary = "put the eyes' pictures into another layout: side by side, anaglyph, wiggle, rows",
    .description = "Takes a left and a right picture, or one FILE that holds both (side by side, top and bottom, MPO, "
                   "JPS ...), and writes them in the "
                   "layout asked for. Eyes can be exchanged and the screen plane moved on the way.\n\n"
                   "Pictures only, not films.",
    .examples = "  panum pack left.png right.png               left_anaglyph.png for red-cyan glasses\n"
                "  panum pack photo.mpo --layout sbs           photo_LRF_Full_SBS.png\n"
                "  panum pack l.png r.png --layout wiggle --shift 1.5% -o w.png",
    .least = 1,
    .most = 2,
    .run = app_pack,
    .options = options,
    .count = sizeof options / sizeof *options,
};

static int target_of(const PackOptions *o) {
    return o->layout < TO_ANAGLYPH ? o->layout : TO_ANAGLYPH;
}

static bool ends_like(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcasecmp(path + n - m, ending) == 0;
}

static bool is_jpeg(const char *path) {
    return ends_like(path, ".jpg") || ends_like(path, ".jpeg");
}

/* The parts of a path: its name without ending has `stem` bytes, counted from the path's beginning. */
static size_t stem_of(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    return dot && dot > base ? (size_t)(dot - path) : strlen(path);
}

static const char *output_path(const PackOptions *o, Arena *arena, const char *input) {
    const char *slash = strrchr(input, '/'), *base = slash ? slash + 1 : input;
    const char *tag = targets[target_of(o)].tag;
    if (!o->output) return arena_format(arena, "%.*s%s.png", (int)stem_of(input), input, tag);
    size_t n = strlen(o->output);
    struct stat st;
    if (o->output[n - 1] != '/' && (stat(o->output, &st) != 0 || !S_ISDIR(st.st_mode))) return o->output;
    return arena_format(arena, "%s%s%.*s%s.png", o->output, o->output[n - 1] == '/' ? "" : "/", (int)stem_of(base),
                        base, tag);
}

static int write_picture(const PackOptions *o, const char *path, const Image *image) {
    OutMode mode = o->overwrite ? OUT_OVERWRITE : OUT_NEW;
    if (!is_jpeg(path)) return image_write(path, mode, image, targets[target_of(o)].words, NULL);
    Out *out;
    int rc = out_open(path, mode, &out);
    if (rc) return rc;
    rc = jpeg_write(out, image, (int)o->quality);
    if (!rc) return out_commit(&out);
    out_abort(&out);
    return rc;
}

static int write_wiggle(const PackOptions *o, const char *path, const StereoPair *pair) {
    Out *out;
    int rc = out_open(path, o->overwrite ? OUT_OVERWRITE : OUT_NEW, &out);
    if (rc) return rc;
    rc = wiggle_write(out, &pair->left, &pair->right, (int)o->delay);
    if (!rc) return out_commit(&out);
    out_abort(&out);
    return rc;
}

/* One path, or two of a pair; all are looked at before the work. */
typedef struct {
    const char *path[2];
    int count;
} Paths;

static int plan_paths(const PackOptions *o, Arena *arena, const char *const *inputs, int input_count, Paths *paths) {
    const char *path = output_path(o, arena, inputs[0]);
    if (!path) return fail(ERR_MEMORY, "no memory for file names");
    bool png = ends_like(path, ".png");
    if (!png && !is_jpeg(path) && !ends_like(path, ".ppm") && !ends_like(path, ".pnm") && !ends_like(path, ".pgm"))
        return usage_error(&verb_pack, "%s: pictures are written as .png, .jpg or .ppm", show_path(path));
    if (target_of(o) == TO_WIGGLE && !png)
        return usage_error(&verb_pack, "%s: a wiggle is an animated PNG; let its name end in .png", show_path(path));
    *paths = (Paths){{path, NULL}, 1};
    if (target_of(o) == TO_PAIR) {
        int stem = (int)stem_of(path);
        paths->path[0] = arena_format(arena, "%.*s_left%s", stem, path, path + stem);
        paths->path[1] = arena_format(arena, "%.*s_right%s", stem, path, path + stem);
        paths->count = 2;
        if (!paths->path[0] || !paths->path[1]) return fail(ERR_MEMORY, "no memory for file names");
    }
    for (int p = 0; p < paths->count; p++) {
        struct stat out, in;
        for (int i = 0; i < input_count; i++)
            if (stat(paths->path[p], &out) == 0 && S_ISREG(out.st_mode) && stat(inputs[i], &in) == 0 &&
                in.st_dev == out.st_dev && in.st_ino == out.st_ino)
                return usage_error(&verb_pack, "%s: is also an input, and would be destroyed; choose another name",
                                   show_path(paths->path[p]));
        int rc = out_check(paths->path[p], o->overwrite ? OUT_OVERWRITE : OUT_NEW);
        if (rc) return rc;
    }
    return 0;
}

static int pack(const PackOptions *o, const char *left, const char *right, const Paths *paths) {
    StereoPair pair;
    StereoOptions how = {.layout = right ? LAYOUT_PAIR : sources[o->from], .swap_eyes = o->swap_eyes};
    int rc = stereo_read(left, right, &how, &pair);
    if (rc) return rc;
    for (int i = 0; i < pair.notes.count; i++) say("%s", pair.notes.text[i]);
    if (pair.decision.layout == LAYOUT_MONO) {
        stereo_pair_free(&pair);
        return fail(ERR_INPUT,
                    "%s: holds one eye only (%s); name the other eye's picture too, or say how they lie with --from",
                    show_path(left), pair.decision.evidence);
    }
    if (!right)
        say("%s: %s, from %s; either eye %dx%d", show_path(left), layout_words(pair.decision.layout),
            pair.decision.evidence, pair.left.width, pair.left.height);
    if (pair.identical) say("both eyes are the same picture: there is no depth in it");
    double columns = o->shift.percent ? o->shift.value * pair.left.width / 100 : o->shift.value;
    int shift = (int)lrint(columns);
    rc = pack_shift(&pair.left, &pair.right, shift);
    if (!rc && shift)
        say("screen moved by %d px (%.2f %% of the width); either eye is now %dx%d", shift,
            100.0 * shift / (pair.left.width + abs(shift)), pair.left.width, pair.left.height);
    int target = target_of(o);
    if (!rc && target == TO_PAIR) {
        rc = write_picture(o, paths->path[0], &pair.left);
        if (!rc) rc = write_picture(o, paths->path[1], &pair.right);
    } else if (!rc && target == TO_WIGGLE) {
        rc = write_wiggle(o, paths->path[0], &pair);
    } else if (!rc) {
        Image out = {0};
        PackLayout layout = target == TO_ANAGLYPH ? PACK_ANAGLYPH : pack_layouts[target];
        AnaglyphKind kind = target == TO_ANAGLYPH ? (AnaglyphKind)(o->layout - TO_ANAGLYPH) : ANAGLYPH_DUBOIS;
        rc = pack_images(&out, &pair.left, &pair.right, layout, kind);
        if (!rc) rc = write_picture(o, paths->path[0], &out);
        image_free(&out);
    }
    for (int p = 0; p < paths->count && !rc; p++) say("wrote %s, %s", show_path(paths->path[p]), targets[target].words);
    stereo_pair_free(&pair);
    return rc;
}

int app_pack(int argc, char **argv) {
    PackOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_pack, argc, argv, &o, &parsed);
    if (rc) return rc;
    rc = talk_begin(&o.talk);
    const char *right = parsed.operand_count > 1 ? parsed.operands[1] : NULL;
    Paths paths;
    if (!rc && right && o.from) rc = usage_error(&verb_pack, "--from is for a single FILE that holds both eyes");
    if (!rc && option_given(&verb_pack, &parsed, "delay") && target_of(&o) != TO_WIGGLE)
        rc = usage_error(&verb_pack, "--delay is for --layout wiggle");
    if (!rc) rc = plan_paths(&o, parsed.arena, parsed.operands, parsed.operand_count, &paths);
    if (!rc && option_given(&verb_pack, &parsed, "quality") && !is_jpeg(paths.path[0]))
        rc = usage_error(&verb_pack, "--quality is for JPEG");
    if (!rc) rc = pack(&o, parsed.operands[0], right, &paths);
    parsed_free(&parsed);
    return rc;
}
