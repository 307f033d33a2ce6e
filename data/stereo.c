#include "data/stereo.h"
#include "base/mem.h"
#include "data/jpeg.h"
#include "data/mpo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *words;
} LAYOUTS[] = {
    [LAYOUT_AUTO] = {"auto", "found out"},       [LAYOUT_MONO] = {"mono", "one eye"},
    [LAYOUT_SBS] = {"sbs", "full side by side"}, [LAYOUT_HSBS] = {"hsbs", "half side by side"},
    [LAYOUT_TB] = {"tb", "full top and bottom"}, [LAYOUT_HTB] = {"htb", "half top and bottom"},
    [LAYOUT_PAIR] = {"pair", "two files"},       [LAYOUT_MPO] = {"mpo", "two pictures in one file (MPO)"},
    [LAYOUT_ROWS] = {"rows", "row-interleaved"}, [LAYOUT_CROSS] = {"cross", "side by side for crossed eyes"},
};
enum { LAYOUT_COUNT = sizeof LAYOUTS / sizeof *LAYOUTS };

const char *layout_name(StereoLayout layout) {
    return LAYOUTS[layout].name;
}

const char *layout_words(StereoLayout layout) {
    return LAYOUTS[layout].words;
}

bool layout_parse(const char *name, StereoLayout *layout) {
    static const struct {
        const char *name;
        StereoLayout layout;
    } others[] = {{"ou", LAYOUT_TB}, {"hou", LAYOUT_HTB}, {"fsbs", LAYOUT_SBS}, {"fou", LAYOUT_TB}};
    for (int i = 0; i < LAYOUT_COUNT; i++)
        if (strcmp(name, LAYOUTS[i].name) == 0) {
            *layout = (StereoLayout)i;
            return true;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i].name) == 0) {
            *layout = others[i].layout;
            return true;
        }
    return false;
}

/* -------------------------------------------------------------------------------------------------- file names */

/* HALF_MOSTLY: half, unless the frame has the shape of two (32:9, or higher than wide). */
typedef enum { FULL, HALF, HALF_MOSTLY, BY_SHAPE } Fullness;

/* What players look for in names, longest first. A tag stands between separators. Some are ordinary words too (ou, tab,
 * fou ...): these count in capitals, and in small letters at the end of a file's name after _ as in clip_tb.mp4, when
 * there is a picture and it does not say otherwise. */
static const struct {
    const char *tag;
    bool top_bottom, right_first, capitals;
    Fullness fullness;
} NAME_TAGS[] = {
    {"LRF_Full_SBS", false, false, false, FULL},
    {"TBF_fulltb", true, false, false, FULL},
    {"RLF_cross", false, true, false, FULL},
    {"Full_SBS", false, false, false, FULL},
    {"Half_SBS", false, false, false, HALF},
    {"Full_TB", true, false, false, FULL},
    {"Full_OU", true, false, false, FULL},
    {"Half_TB", true, false, false, HALF},
    {"Half_OU", true, false, false, HALF},
    {"fullsbs", false, false, false, FULL},
    {"halfsbs", false, false, false, HALF},
    {"fulltb", true, false, false, FULL},
    {"halftb", true, false, false, HALF},
    {"3DPHF", false, false, false, FULL},
    {"3DPVF", true, false, false, FULL},
    {"H-SBS", false, false, false, HALF},
    {"3DHF", false, false, false, FULL},
    {"3DVF", true, false, false, FULL},
    {"3DPH", false, false, false, HALF},
    {"3DPV", true, false, false, HALF},
    {"HSBS", false, false, false, HALF},
    {"FSBS", false, false, false, FULL},
    {"H-OU", true, false, false, HALF},
    {"HTAB", true, false, false, HALF},
    {"cross", false, true, false, FULL},
    {"LRF", false, false, false, FULL},
    {"RLF", false, true, false, FULL},
    {"TBF", true, false, false, FULL},
    {"3DH", false, false, false, HALF},
    {"3DV", true, false, false, HALF},
    {"HOU", true, false, true, HALF},
    {"HTB", true, false, false, HALF},
    {"FTB", true, false, false, FULL},
    {"FOU", true, false, true, FULL},
    {"SBS", false, false, false, BY_SHAPE},
    {"TAB", true, false, true, BY_SHAPE},
    {"LR", false, false, true, HALF_MOSTLY},
    {"RL", false, true, true, HALF_MOSTLY},
    {"TB", true, false, true, HALF_MOSTLY},
    {"OU", true, false, true, BY_SHAPE},
};

static bool separates(char c) {
    return c == 0 || c == '_' || c == '.' || c == '-' || c == ' ' || c == '(' || c == ')' || c == '[' || c == ']';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

typedef enum { NO_TAG, IN_CAPITALS, IN_SMALL } TagFound; /* of tags that ask for capitals; others are IN_CAPITALS */

static TagFound find_tag(const char *name, const char *tag, bool capitals) {
    size_t n = strlen(tag), length = strlen(name);
    const char *dot = strrchr(name, '.');
    size_t stem = dot ? (size_t)(dot - name) : length;
    TagFound found = NO_TAG;
    for (size_t at = 1; at + n <= length; at++) {
        if (!separates(name[at - 1]) || !separates(name[at + n])) continue;
        size_t same = 0, alike = 0;
        while (same < n && name[at + same] == tag[same]) same++;
        while (alike < n && lower(name[at + alike]) == lower(tag[alike])) alike++;
        if (same == n || (alike == n && !capitals)) return IN_CAPITALS;
        bool last = at > 1 && name[at - 1] == '_' && at + n == stem;
        if (alike == n && last) found = IN_SMALL;
    }
    return found;
}

/* How much steeper the picture is across than down, in powers of two: about 0 for a picture of the world, 1 when it was
 * squeezed to half its width, -1 to half its height. */
static double squeeze(const Image *frame) {
    double across = 1, down = 1; /* so that a flat frame gives 0 */
    int c = frame->channels, n = frame->width * c, step = 1 + frame->height / 512;
    for (int y = 0; y + 1 < frame->height; y += step)
        for (int x = 0; x + c < n; x += c) {
            int64_t at = (int64_t)y * n + x;
            int v[3];
            for (int k = 0; k < 3; k++) {
                int64_t i = at + (k == 1 ? c : k == 2 ? n : 0);
                v[k] = frame->bits == 8 ? frame->bytes[i] : image_16(frame)[i] >> 8;
            }
            across += abs(v[1] - v[0]);
            down += abs(v[2] - v[0]);
        }
    return log2(across / down);
}

/* Do eyes side by side (or one above the other) fill only half of theirs? A frame with a film's shape says yes unless
 * its content clearly says no; 2.35 to 2.40 is also two 6:5 photographs, there the content alone decides. */
static bool is_half(bool top_bottom, int width, int height, const Image *frame) {
    static const double films[] = {4.0 / 3, 1.6, 16.0 / 9, 1.85}, scopes[] = {2.35, 2.39};
    double shape = (double)width / height, threshold = 0;
    bool film = false;
    for (int i = 0; i < 4; i++) film = film || fabs(shape / films[i] - 1) < 0.015;
    for (int i = 0; !film && i < 2; i++)
        if (fabs(shape / scopes[i] - 1) < 0.015) {
            film = true;
            threshold = 0.5;
        }
    if (!film || !frame) return film;
    double seen = squeeze(frame);
    return (top_bottom ? -seen : seen) > threshold;
}

static StereoLayout pick(bool top_bottom, Fullness fullness, int width, int height, const Image *frame) {
    bool doubled = top_bottom ? height >= width : width >= 3.2 * height,
         half = fullness == HALF || (fullness == HALF_MOSTLY && !doubled) ||
                (fullness == BY_SHAPE && is_half(top_bottom, width, height, frame));
    return top_bottom ? (half ? LAYOUT_HTB : LAYOUT_TB) : half ? LAYOUT_HSBS : LAYOUT_SBS;
}

StereoLayout layout_by_shape(bool top_bottom, int width, int height, const Image *frame) {
    return pick(top_bottom, BY_SHAPE, width, height, frame);
}

/* ------------------------------------------------------------------------------------------------------ content */

/* Rows of two eyes in turn: next rows differ more than next but one, which no single picture does. */
static double row_alternation(const Image *frame) {
    if (frame->height < 8) return 0;
    double next = 0, second = 0;
    int n = frame->width * frame->channels;
    int rows = frame->height < 512 ? frame->height - 2 : 512;
    for (int i = 0; i < rows; i++) {
        int y = (int)((int64_t)i * (frame->height - 2) / rows);
        for (int x = 0; x < n; x += 3) {
            int64_t at = (int64_t)y * n + x;
            int v[3];
            for (int k = 0; k < 3; k++)
                v[k] = frame->bits == 8 ? frame->bytes[at + (int64_t)k * n] : image_16(frame)[at + (int64_t)k * n] >> 8;
            next += abs(v[0] - v[1]);
            second += abs(v[0] - v[2]);
        }
    }
    return next > 0 ? 1 - second / next : 0;
}

enum { BLOCKS_LEAST = 24 }; /* with texture, for the content to say anything */

static int match_halves(const Image *frame, bool top_bottom, StereoMeasure *m) {
    Image first, second = {0};
    int w = top_bottom ? frame->width : frame->width / 2, h = top_bottom ? frame->height / 2 : frame->height;
    *m = (StereoMeasure){0};
    if (w < 16 || h < 16) return 0;
    int error = image_crop(&first, frame, 0, 0, w, h);
    if (!error) error = image_crop(&second, frame, frame->width - w, frame->height - h, w, h);
    if (!error) error = stereo_measure_rough(&first, &second, m);
    image_free(&first);
    image_free(&second);
    return error;
}

/* Do the halves plainly not match each other? A picture with little texture does not say so; no picture at all does. */
static int denies(const Image *frame, bool top_bottom, bool *no) {
    StereoMeasure m = {0};
    int error = frame ? match_halves(frame, top_bottom, &m) : 0;
    *no = !frame || (m.textured >= BLOCKS_LEAST && m.matched < 0.25);
    return error;
}

static int decide_by_name(const char *path, int width, int height, const Image *frame, LayoutDecision *decision,
                          bool *found) {
    *found = false;
    char part[2][256] = {"", ""}; /* the file's name and its folder's, each behind a separator */
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    snprintf(part[0], sizeof part[0], "_%s", base);
    if (slash) {
        const char *start = slash;
        while (start > path && start[-1] != '/') start--;
        snprintf(part[1], sizeof part[1], "_%.*s", (int)(slash - start), start);
    }
    for (int p = 0; p < 2; p++)
        for (size_t i = 0; i < sizeof NAME_TAGS / sizeof *NAME_TAGS; i++) {
            TagFound how = find_tag(part[p], NAME_TAGS[i].tag, NAME_TAGS[i].capitals);
            bool no = how == NO_TAG || (how == IN_SMALL && p == 1);
            int error = !no && how == IN_SMALL ? denies(frame, NAME_TAGS[i].top_bottom, &no) : 0;
            if (error) return error;
            if (no) continue;
            decision->layout = pick(NAME_TAGS[i].top_bottom, NAME_TAGS[i].fullness, width, height, frame);
            decision->right_first = NAME_TAGS[i].right_first;
            snprintf(decision->evidence, sizeof decision->evidence, "%s name (%s)%s", p ? "folder" : "file",
                     NAME_TAGS[i].tag,
                     NAME_TAGS[i].fullness == BY_SHAPE || NAME_TAGS[i].fullness == HALF_MOSTLY ? " and shape" : "");
            *found = true;
            return 0;
        }
    return 0;
}

static int decide_by_content(const Image *frame, LayoutDecision *decision, bool *found) {
    StereoMeasure sides, tops;
    *found = false;
    double rows = row_alternation(frame);
    if (rows > 0.15) {
        decision->layout = LAYOUT_ROWS;
        snprintf(decision->evidence, sizeof decision->evidence,
                 "content (next rows differ %.0f %% more than next but one)", 100 * rows / (1 - rows));
        *found = true;
        return 0;
    }
    int error = match_halves(frame, false, &sides);
    if (!error) error = match_halves(frame, true, &tops);
    if (error) return error;
    bool top_bottom = tops.matched > sides.matched;
    const StereoMeasure *best = top_bottom ? &tops : &sides, *other = top_bottom ? &sides : &tops;
    /* In a picture with little texture (a map of disparity) a few blocks match by chance: of 50 half do, of 500 none.
     */
    double least = 0.35 + 2 / sqrt(best->textured + 1.0);
    if (best->textured >= BLOCKS_LEAST && best->matched >= least && best->matched - other->matched >= 0.15) {
        decision->layout = pick(top_bottom, BY_SHAPE, frame->width, frame->height, frame);
        snprintf(decision->evidence, sizeof decision->evidence,
                 "content (%.0f %% of %d blocks match in the other half%s) and shape", 100 * best->matched,
                 best->textured, best->identical ? ", which is identical" : "");
        *found = true;
    }
    return 0;
}

int layout_decide(const char *path, int width, int height, const Image *frame, const StereoOptions *options,
                  LayoutDecision *decision) {
    static const StereoOptions nothing;
    if (!options) options = &nothing;
    *decision = (LayoutDecision){.layout = LAYOUT_MONO};
    bool named = false;
    if (path && options->layout == LAYOUT_AUTO && options->tag == LAYOUT_AUTO) {
        int error = decide_by_name(path, width, height, frame, decision, &named);
        if (error) return error;
    }
    if (options->layout != LAYOUT_AUTO) {
        decision->layout = options->layout;
        snprintf(decision->evidence, sizeof decision->evidence, "what was asked for");
    } else if (options->tag != LAYOUT_AUTO) {
        decision->layout = options->tag;
        decision->right_first = options->tag_right_first;
        snprintf(decision->evidence, sizeof decision->evidence, "%s",
                 options->tag_source ? options->tag_source : "its container");
    } else if (named) { /* by the name, above */
    } else if (frame) {
        bool found;
        int error = decide_by_content(frame, decision, &found);
        if (error) return error;
        if (!found) snprintf(decision->evidence, sizeof decision->evidence, "its halves do not match each other");
    } else if ((double)width / height >= 3.2) {
        decision->layout = LAYOUT_SBS;
        snprintf(decision->evidence, sizeof decision->evidence, "its shape (%d x %d)", width, height);
    } else if (fabs((double)width / height / (8.0 / 9) - 1) < 0.015) {
        decision->layout = LAYOUT_TB;
        snprintf(decision->evidence, sizeof decision->evidence, "its shape (%d x %d)", width, height);
    } else {
        snprintf(decision->evidence, sizeof decision->evidence, "nothing says that it holds two eyes");
    }
    if (decision->layout == LAYOUT_CROSS) {
        decision->layout = LAYOUT_SBS;
        decision->right_first = !decision->right_first;
    }
    if (options->swap_eyes) decision->right_first = !decision->right_first;
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- splitting */

int layout_check(const LayoutDecision *decision, int width, int height) {
    StereoLayout layout = decision->layout;
    bool across = layout == LAYOUT_SBS || layout == LAYOUT_HSBS, down = layout == LAYOUT_TB || layout == LAYOUT_HTB;
    if (across && (width % 2 || width < 2))
        return fail(ERR_INPUT,
                    "width %d cannot be split into two eyes (%s); cut or add a column, or name another --layout", width,
                    layout_words(layout));
    if (down && (height % 2 || height < 2))
        return fail(ERR_INPUT,
                    "height %d cannot be split into two eyes (%s); cut or add a row, or name another --layout", height,
                    layout_words(layout));
    if (layout == LAYOUT_ROWS && height < 2) /* otherwise every row is one eye's, whatever their number */
        return fail(ERR_INPUT, "one row cannot hold two eyes (%s); name another --layout", layout_words(layout));
    return 0;
}

void layout_eye_size(const LayoutDecision *decision, int width, int height, int *eye_width, int *eye_height) {
    *eye_width = decision->layout == LAYOUT_SBS ? width / 2 : width;
    *eye_height = decision->layout == LAYOUT_TB ? height / 2 : height;
}

/* One eye of interleaved rows: its own rows stay where they are, the others are the mean of their neighbours. */
static int fill_rows(Image *eye, const Image *frame, int parity) {
    int error = image_make(eye, frame->width, frame->height, frame->channels, frame->bits);
    if (error) return error;
    int n = frame->width * frame->channels;
    for (int y = 0; y < frame->height; y++) {
        int above = (y & 1) == parity ? y : y - 1, below = (y & 1) == parity ? y : y + 1;
        if (above < 0) above = below;
        if (below >= frame->height) below = above;
        int64_t a = (int64_t)above * n, b = (int64_t)below * n, to = (int64_t)y * n;
        for (int x = 0; x < n; x++)
            if (frame->bits == 8)
                eye->bytes[to + x] = (uint8_t)((frame->bytes[a + x] + frame->bytes[b + x] + 1) / 2);
            else
                image_16(eye)[to + x] = (uint16_t)((image_16(frame)[a + x] + image_16(frame)[b + x] + 1) / 2);
    }
    return 0;
}

static int take_half(Image *eye, const Image *frame, StereoLayout layout, bool second) {
    int w = frame->width, h = frame->height;
    if (layout == LAYOUT_ROWS) return fill_rows(eye, frame, second);
    bool down = layout == LAYOUT_TB || layout == LAYOUT_HTB;
    int eye_w = down ? w : w / 2, eye_h = down ? h / 2 : h;
    Image half;
    /* From the far end, so that the middle column of an odd frame (stereo_read allows it) goes to neither. */
    int error = image_crop(&half, frame, second && !down ? w - eye_w : 0, second && down ? h - eye_h : 0, eye_w, eye_h);
    if (error) return error;
    if (layout == LAYOUT_SBS || layout == LAYOUT_TB) {
        *eye = half;
        return 0;
    }
    error = image_resize(eye, &half, w, h);
    image_free(&half);
    return error;
}

int layout_split(const Image *frame, const LayoutDecision *decision, Image *left, Image *right) {
    StereoLayout layout = decision->layout;
    BUG_IF(layout != LAYOUT_SBS && layout != LAYOUT_HSBS && layout != LAYOUT_TB && layout != LAYOUT_HTB &&
               layout != LAYOUT_ROWS,
           "layout_split of %s", layout_name(layout));
    memset(right, 0, sizeof *right);
    int error = take_half(left, frame, layout, decision->right_first);
    if (!error) error = take_half(right, frame, layout, !decision->right_first);
    if (error) {
        image_free(left);
        image_free(right);
    }
    return error;
}

/* ------------------------------------------------------------------------------------------------------- stills */

void stereo_pair_free(StereoPair *pair) {
    image_free(&pair->left);
    image_free(&pair->right);
}

static int equalise(StereoPair *pair, const char *a, const char *b) {
    Image *l = &pair->left, *r = &pair->right;
    char first[200], second[200];
    if (l->width != r->width || l->height != r->height)
        return fail(ERR_INPUT, "the eyes differ in size: %s is %d x %d, %s is %d x %d; both must be of one size",
                    err_printable(first, sizeof first, a), l->width, l->height, err_printable(second, sizeof second, b),
                    r->width, r->height);
    if (l->bits != r->bits)
        return fail(ERR_INPUT, "the eyes differ in type: %s has %d bits a sample, %s has %d; convert one of them",
                    err_printable(first, sizeof first, a), l->bits, err_printable(second, sizeof second, b), r->bits);
    if (l->channels != r->channels) {
        read_note(&pair->notes, "the %s eye is grey and was widened to colour", l->channels == 1 ? "left" : "right");
        return image_to_rgb(l->channels == 1 ? l : r);
    }
    size_t bytes = (size_t)image_pixels(l) * (size_t)l->channels * (size_t)(l->bits / 8);
    pair->identical = memcmp(l->bytes, r->bytes, bytes) == 0;
    if (pair->identical) read_note(&pair->notes, "both eyes are identical: there is no depth in them");
    return 0;
}

static int read_two(const char *a, const char *b, const StereoOptions *options, StereoPair *pair) {
    char shown[300];
    if (options->layout != LAYOUT_AUTO && options->layout != LAYOUT_PAIR)
        return fail(ERR_USAGE, "--layout %s describes one file; two were given: %s and one more",
                    layout_name(options->layout), err_printable(shown, sizeof shown, a));
    pair->decision = (LayoutDecision){.layout = LAYOUT_PAIR, .right_first = options->swap_eyes};
    snprintf(pair->decision.evidence, sizeof pair->decision.evidence, "two files");
    int error = image_read(a, &options->read, options->swap_eyes ? &pair->right : &pair->left, &pair->notes);
    if (!error) error = image_read(b, &options->read, options->swap_eyes ? &pair->left : &pair->right, &pair->notes);
    return error ? error : equalise(pair, options->swap_eyes ? b : a, options->swap_eyes ? a : b);
}

/* A JPS segment says how the eyes lie (VRex's JPS 1.x). */
static void use_jps(const JpegInfo *info, StereoOptions *options) {
    static const StereoLayout layouts[5] = {LAYOUT_AUTO, LAYOUT_ROWS, LAYOUT_SBS, LAYOUT_TB, LAYOUT_AUTO};
    uint32_t kind = info->jps >> 8 & 255, flags = info->jps >> 16 & 255;
    if (!info->has_jps || (info->jps & 255) != 1 || kind > 4 || layouts[kind] == LAYOUT_AUTO ||
        options->tag != LAYOUT_AUTO)
        return;
    options->tag = layouts[kind];
    if (kind == 2 && (flags & 2)) options->tag = LAYOUT_HSBS;
    if (kind == 3 && (flags & 1)) options->tag = LAYOUT_HTB;
    options->tag_right_first = !(flags & 4);
    options->tag_source = "its JPS segment";
}

static bool named_jps(const char *path) {
    size_t n = strlen(path);
    return n > 4 && path[n - 4] == '.' && lower(path[n - 3]) == 'j' && lower(path[n - 2]) == 'p' &&
           lower(path[n - 1]) == 's';
}

/* JPS without a word about the order is usually for crossed eyes; the pictures decide when they can. */
static int order_of_jps(StereoPair *pair) {
    StereoMeasure m;
    int error = stereo_measure(&pair->left, &pair->right, &m);
    if (error) return error;
    bool normal = m.eye_confidence >= 0.7 && m.eye_order > 0;
    if (!normal) {
        Image swap = pair->left;
        pair->left = pair->right;
        pair->right = swap;
        pair->decision.right_first = !pair->decision.right_first;
    }
    if (m.eye_confidence >= 0.7)
        snprintf(pair->decision.evidence, sizeof pair->decision.evidence, "file name (.jps); %s first by test (%.2f)",
                 normal ? "left" : "right", fabs(m.eye_order));
    else
        snprintf(pair->decision.evidence, sizeof pair->decision.evidence,
                 "file name (.jps), right eye first as usual there");
    return 0;
}

static int read_mpo(const uint8_t *bytes, size_t size, const StereoOptions *options, StereoPair *pair) {
    Mpo mpo;
    int error = mpo_decode_pair(bytes, size, &options->read, options->swap_eyes ? &pair->right : &pair->left,
                                options->swap_eyes ? &pair->left : &pair->right, &mpo, &pair->notes);
    if (error) return error;
    pair->decision = (LayoutDecision){.layout = LAYOUT_MPO, .right_first = options->swap_eyes};
    snprintf(pair->decision.evidence, sizeof pair->decision.evidence, "%d pictures in the file%s", mpo.count,
             mpo.from_index ? "" : ", found without its index");
    return 0;
}

static int read_packed(const char *path, const uint8_t *bytes, size_t size, StereoOptions *options, StereoPair *pair) {
    Image frame;
    char shown[300];
    bool asked = options->layout != LAYOUT_AUTO;
    int error = image_read_memory(path, bytes, size, &options->read, &frame, &pair->notes);
    if (error) return error;
    bool jps = named_jps(path) && !asked && options->tag == LAYOUT_AUTO;
    if (jps) {
        options->tag = pick(false, BY_SHAPE, frame.width, frame.height, &frame);
        options->tag_source = "file name (.jps)";
    }
    error = layout_decide(path, frame.width, frame.height, &frame, options, &pair->decision);
    if (!error && pair->decision.layout == LAYOUT_MONO) {
        pair->left = frame;
        return 0;
    }
    /* A frame of odd width, as scanned cards have it, is split when that was asked for or its halves were seen to
     * match; not because a name or a tag says so: then it is more likely cut than packed. */
    bool seen = asked || strncmp(pair->decision.evidence, "content", 7) == 0;
    if (!error && !seen && layout_check(&pair->decision, frame.width, frame.height)) {
        StereoOptions by_content = {.swap_eyes = options->swap_eyes};
        LayoutDecision decision;
        error = layout_decide(NULL, frame.width, frame.height, &frame, &by_content, &decision);
        seen = !error && decision.layout != LAYOUT_MONO;
        if (seen) pair->decision = decision;
    }
    if (!error && !seen && layout_check(&pair->decision, frame.width, frame.height))
        error = fail_prefix("%s", err_printable(shown, sizeof shown, path));
    if (!error && layout_check(&pair->decision, frame.width, frame.height)) {
        bool down = pair->decision.layout != LAYOUT_SBS && pair->decision.layout != LAYOUT_HSBS;
        int side = down ? frame.height : frame.width;
        if (side < 2 || pair->decision.layout == LAYOUT_ROWS) {
            error = fail_prefix("%s", err_printable(shown, sizeof shown, path));
        } else {
            read_note(&pair->notes, "the middle %s of %d is left out, each eye has %d", down ? "row" : "column", side,
                      side / 2);
            err_clear();
        }
    }
    if (!error) error = layout_split(&frame, &pair->decision, &pair->left, &pair->right);
    image_free(&frame);
    if (!error && jps) error = order_of_jps(pair);
    return error;
}

static int read_one(const char *path, const StereoOptions *given, StereoPair *pair) {
    StereoOptions options = *given;
    uint8_t *bytes;
    size_t size;
    char shown[300];
    int error = file_read(path, IMAGE_FILE_MAX, &bytes, &size);
    if (error) return error;
    bool jpeg = content_kind(bytes, size) == CONTENT_JPEG;
    JpegInfo info;
    if (jpeg && jpeg_check(bytes, size, &info, NULL) == 0) use_jps(&info, &options);
    if (options.layout == LAYOUT_MPO && !jpeg)
        error = fail(ERR_INPUT, "%s: is not a JPEG, so it cannot hold MPO pictures",
                     err_printable(shown, sizeof shown, path));
    else if (options.layout == LAYOUT_MPO || (options.layout == LAYOUT_AUTO && jpeg && mpo_is(bytes, size))) {
        error = read_mpo(bytes, size, &options, pair);
        if (error) error = fail_prefix("%s", err_printable(shown, sizeof shown, path));
    } else
        error = read_packed(path, bytes, size, &options, pair);
    mem_free(bytes);
    if (!error && pair->right.bytes) error = equalise(pair, "the left eye", "the right eye");
    return error;
}

int stereo_read(const char *a, const char *b, const StereoOptions *options, StereoPair *pair) {
    static const StereoOptions nothing;
    char shown[300];
    if (!options) options = &nothing;
    memset(pair, 0, sizeof *pair);
    int error;
    if (b)
        error = read_two(a, b, options, pair);
    else if (options->layout == LAYOUT_PAIR)
        error =
            fail(ERR_USAGE, "--layout pair needs two files; only %s was given", err_printable(shown, sizeof shown, a));
    else
        error = read_one(a, options, pair);
    if (error) stereo_pair_free(pair);
    return error;
}
