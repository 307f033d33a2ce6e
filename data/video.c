#include "data/video.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "data/container.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    ARGUMENTS = 64,
    PATH_LENGTH = 4096 + 8,
    PROBE_MAX = 4 << 20, /* bytes of ffprobe's answer; one frame and one stream have a few thousand */
};

/* ---- the programs -------------------------------------------------------------------------------------------------
 */

static const char *ffmpeg_name(void) {
    const char *named = getenv("PANUM_FFMPEG");
    return named && *named ? named : "ffmpeg";
}

/* ffprobe lies beside ffmpeg: the last "ffmpeg" in the file's name is exchanged, so that ffmpeg-7 finds ffprobe-7. */
static int ffprobe_name(char out[PATH_LENGTH]) {
    const char *named = ffmpeg_name(), *slash = strrchr(named, '/'), *base = slash ? slash + 1 : named,
               *at = strstr(base, "ffmpeg");
    char shown[300];
    size_t n = at ? (size_t)(at - named) : slash ? (size_t)(base - named) : 0;
    if (n + strlen(at ? at : "") + 8 >= PATH_LENGTH)
        return fail(ERR_TOOL, "%s: the name in PANUM_FFMPEG is too long", err_printable(shown, sizeof shown, named));
    snprintf(out, PATH_LENGTH, "%.*sffprobe%s", (int)n, named, at ? at + 6 : "");
    return 0;
}

/* "file:" makes ffmpeg take the rest as a name, whatever it looks like. */
static int file_argument(char out[PATH_LENGTH], const char *path) {
    if ((size_t)snprintf(out, PATH_LENGTH, "file:%s", path) < PATH_LENGTH) return 0;
    return fail(ERR_INPUT, "the name of a film has more than 4,096 bytes");
}

typedef struct {
    const char *items[ARGUMENTS];
    int count;
} Arguments;

static void add(Arguments *list, const char *item) {
    BUG_IF(list->count + 1 >= ARGUMENTS, "too many arguments for ffmpeg");
    list->items[list->count++] = item;
}
#define ADD(list, ...)                                                                  \
    do {                                                                                \
        const char *const more[] = {__VA_ARGS__};                                       \
        for (size_t i_ = 0; i_ < sizeof more / sizeof *more; i_++) add(list, more[i_]); \
    } while (0)

static int start(const Arguments *list, ProcessPipe pipe, const VideoOptions *options, double more_patience,
                 Process **process) {
    double patience = options->patience > 0 ? options->patience : PROCESS_PATIENCE;
    return process_start(
        list->items, &(ProcessOptions){.pipe = pipe, .patience = patience + more_patience, .stopped = options->stopped},
        process);
}

/* All that a program says, as text; caller frees. *end says how it ended, whatever that means. */
static int ask_anyhow(const Arguments *list, ProcessPipe pipe, const VideoOptions *options, char **text, size_t *size,
                      ProcessEnd *end) {
    Process *process;
    *text = NULL;
    *end = (ProcessEnd){0};
    int rc = start(list, pipe, options, 0, &process);
    if (rc) return rc;
    char *bytes = mem_alloc(PROBE_MAX);
    size_t got = 0;
    rc = bytes ? process_read(process, bytes, PROBE_MAX, &got) : ERR_MEMORY;
    if (!rc && got == PROBE_MAX) rc = fail(ERR_TOOL, "%s answers with more than %d bytes", list->items[0], PROBE_MAX);
    if (rc)
        process_kill(&process);
    else
        rc = process_end(&process, end);
    if (rc) {
        mem_free(bytes);
        return rc;
    }
    *text = bytes;
    *size = got;
    return 0;
}

/* The same of a program that has no reason to fail. */
static int ask(const Arguments *list, ProcessPipe pipe, const VideoOptions *options, char **text, size_t *size) {
    ProcessEnd end;
    int rc = ask_anyhow(list, pipe, options, text, size, &end);
    if (!rc) rc = process_judge(&end);
    if (rc) {
        mem_free(*text);
        *text = NULL;
    }
    return rc;
}

int video_check(const VideoOptions *options) {
    static atomic_bool known; /* once it was there it stays */
    Arguments list = {{0}, 0};
    char *text;
    size_t size;
    if (atomic_load(&known)) return 0;
    ADD(&list, ffmpeg_name(), "-hide_banner", "-version");
    int rc = ask(&list, PROCESS_OUTPUT, options, &text, &size);
    if (rc) return rc;
    bool is = size > 6 && memcmp(text, "ffmpeg", 6) == 0;
    mem_free(text);
    if (!is) return fail(ERR_TOOL, "%s is not ffmpeg; correct PANUM_FFMPEG", list.items[0]);
    atomic_store(&known, true);
    return 0;
}

/* ---- facts --------------------------------------------------------------------------------------------------------
 */

typedef struct {
    VideoFacts *facts;
    Rate base;
    char stereo_mode[40], side_type[40], frame_side_type[40];
    bool side_inverted, frame_side_inverted, frame_packed, has_stream;
    double stream_seconds, format_seconds;
    int64_t counted;
} Probe;

static Rate parse_rate(const char *text) {
    char *end;
    long long over = strtoll(text, &end, 10), under = *end == '/' ? strtoll(end + 1, NULL, 10) : 1;
    /* bounds keep later products far from overflow */
    if (over <= 0 || under <= 0 || over > 1000000000 || under > 1000000000) return (Rate){0, 0};
    return (Rate){over, under};
}

static void set_text(char *out, size_t size, const char *value) {
    if (strcmp(value, "unknown") != 0) snprintf(out, size, "%s", value);
}

/* One value of ffprobe's answer. `where` is the path of keys without list indices: "streams.tags.stereo_mode". */
static void take_fact(Probe *p, const char *where, const char *value) {
    VideoFacts *f = p->facts;
    double number = strtod(value, NULL);
    bool sane = isfinite(number);
    if (strncmp(where, "streams.", 8) == 0) p->has_stream = true;
    if (strcmp(where, "streams.width") == 0 && sane && fabs(number) < 1e9) f->width = (int)number;
    if (strcmp(where, "streams.height") == 0 && sane && fabs(number) < 1e9) f->height = (int)number;
    if (strcmp(where, "streams.codec_name") == 0) set_text(f->codec, sizeof f->codec, value);
    if (strcmp(where, "streams.pix_fmt") == 0) set_text(f->pixels, sizeof f->pixels, value);
    if (strcmp(where, "streams.color_space") == 0) set_text(f->matrix, sizeof f->matrix, value);
    if (strcmp(where, "streams.color_range") == 0) set_text(f->range, sizeof f->range, value);
    if (strcmp(where, "streams.color_transfer") == 0) set_text(f->transfer, sizeof f->transfer, value);
    if (strcmp(where, "streams.bits_per_raw_sample") == 0 && number >= 1 && number <= 32) f->bits = (int)number;
    if (strcmp(where, "streams.r_frame_rate") == 0) p->base = parse_rate(value);
    if (strcmp(where, "streams.avg_frame_rate") == 0) f->rate = parse_rate(value);
    if (strcmp(where, "streams.duration") == 0 && sane) p->stream_seconds = number;
    if (strcmp(where, "format.duration") == 0 && sane) p->format_seconds = number;
    if ((strcmp(where, "streams.nb_frames") == 0 || strncmp(where, "streams.tags.NUMBER_OF_FRAMES", 29) == 0) &&
        number >= 1 && number < 1e12)
        p->counted = (int64_t)number;
    if (strcmp(where, "streams.tags.stereo_mode") == 0) set_text(p->stereo_mode, sizeof p->stereo_mode, value);
    if (strcmp(where, "streams.side_data_list.type") == 0) set_text(p->side_type, sizeof p->side_type, value);
    if (strcmp(where, "streams.side_data_list.inverted") == 0) p->side_inverted = number != 0;
    if (strcmp(where, "streams.side_data_list.rotation") == 0 && fabs(number) <= 360) f->rotation = (int)number;
    if (strcmp(where, "frames.side_data_list.side_data_type") == 0 && strcmp(value, "Stereo 3D") == 0)
        p->frame_packed = true;
    if (strcmp(where, "frames.side_data_list.type") == 0)
        set_text(p->frame_side_type, sizeof p->frame_side_type, value);
    if (strcmp(where, "frames.side_data_list.inverted") == 0) p->frame_side_inverted = number != 0;
}

static int parse_probe(const char *text, size_t size, Probe *probe) {
    enum { DEPTH = 8, NAME = 48 };
    char names[DEPTH + 1][NAME] = {{0}}, value[256];
    Json json;
    json_begin(&json, text, size, DEPTH);
    for (;;) {
        JsonKind kind = json_next(&json);
        if (kind == JSON_END) return 0;
        if (kind == JSON_ERROR) return fail(ERR_TOOL, "ffprobe's answer is not JSON (%s); is it ffprobe?", json.error);
        if (kind == JSON_KEY) {
            if (!json_string(&json, names[json.depth], NAME)) names[json.depth][0] = 0;
            continue;
        }
        if (kind == JSON_STRING) {
            if (!json_string(&json, value, sizeof value)) continue;
        } else if (kind == JSON_NUMBER) {
            snprintf(value, sizeof value, "%.17g", json.number);
        } else {
            /* a list has no keys of its own: its level adds nothing to the path */
            if (kind == JSON_OBJECT || kind == JSON_ARRAY) names[json.depth][0] = 0;
            continue;
        }
        char where[DEPTH * NAME] = "";
        size_t used = 0;
        for (int d = 0; d <= json.depth && d <= DEPTH; d++)
            if (names[d][0])
                used += (size_t)snprintf(where + used, sizeof where - used, "%s%s", used ? "." : "", names[d]);
        take_fact(probe, where, value);
    }
}

/* Matroska's numbers under ffmpeg's names for them; what is not read is named with what to do. */
static void decide_tag(Probe *p) {
    static const struct {
        const char *name;
        int number;
        StereoLayout layout; /* PAIR: not read */
        bool right_first;
    } modes[] = {
        {"mono", 0, LAYOUT_MONO, false},
        {"left_right", 1, LAYOUT_SBS, false},
        {"bottom_top", 2, LAYOUT_TB, true},
        {"top_bottom", 3, LAYOUT_TB, false},
        {"checkerboard_rl", 4, LAYOUT_PAIR, true},
        {"checkerboard_lr", 5, LAYOUT_PAIR, false},
        {"row_interleaved_rl", 6, LAYOUT_ROWS, true},
        {"row_interleaved_lr", 7, LAYOUT_ROWS, false},
        {"col_interleaved_rl", 8, LAYOUT_PAIR, true},
        {"col_interleaved_lr", 9, LAYOUT_PAIR, false},
        {"anaglyph_cyan_red", 10, LAYOUT_PAIR, false},
        {"right_left", 11, LAYOUT_SBS, true},
        {"anaglyph_green_magenta", 12, LAYOUT_PAIR, false},
        {"block_lr", 13, LAYOUT_PAIR, false},
        {"block_rl", 14, LAYOUT_PAIR, true},
    };
    static const struct {
        const char *name;
        StereoLayout layout;
    } packings[] = {
        {"2D", LAYOUT_MONO},
        {"side by side", LAYOUT_SBS},
        {"side by side (quincunx subsampling)", LAYOUT_SBS},
        {"top and bottom", LAYOUT_TB},
        {"interleaved lines", LAYOUT_ROWS},
        {"frame alternate", LAYOUT_PAIR},
        {"checkerboard", LAYOUT_PAIR},
        {"interleaved columns", LAYOUT_PAIR},
    };
    VideoFacts *f = p->facts;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(p->stereo_mode, modes[i].name) != 0) continue;
        f->tag = modes[i].layout;
        f->tag_right_first = modes[i].right_first;
        snprintf(f->tag_source, sizeof f->tag_source, "StereoMode %d (%s)", modes[i].number, modes[i].name);
    }
    const char *type = *p->side_type ? p->side_type : p->frame_side_type;
    for (size_t i = 0; f->tag == LAYOUT_AUTO && i < sizeof packings / sizeof *packings; i++) {
        if (strcmp(type, packings[i].name) != 0) continue;
        f->tag = packings[i].layout;
        f->tag_right_first = *p->side_type ? p->side_inverted : p->frame_side_inverted;
        snprintf(f->tag_source, sizeof f->tag_source, "%s: %s%s", *p->side_type ? "stereo tag" : "frame packing", type,
                 f->tag_right_first ? ", right first" : "");
    }
}

/* ffprobe of ffmpeg 5 says that there is a frame packing message and not which: the filter showinfo tells people. */
static int ask_frame_packing(const char *input, const VideoOptions *options, Probe *probe) {
    char *text;
    size_t size;
    Arguments list = {{0}, 0};
    ADD(&list, ffmpeg_name(), "-hide_banner", "-nostdin", "-v", "info", "-protocol_whitelist", "file,pipe", "-i", input,
        "-map", "0:V:0", "-frames:v", "1", "-vf", "showinfo", "-f", "null", "-");
    int rc = ask(&list, PROCESS_TALK, options, &text, &size);
    if (rc) return rc;
    static const char mark[] = "type - ";
    const char *line = memmem(text, size, "side data - stereoscopic information: ", 38), *end = text + size;
    if (!line) line = memmem(text, size, "side data - Stereo 3D: ", 23);
    const char *type = line ? memmem(line, (size_t)(end - line), mark, sizeof mark - 1) : NULL;
    if (type) {
        type += sizeof mark - 1;
        const char *stop = memchr(type, '\n', (size_t)(end - type));
        size_t n = (size_t)((stop ? stop : end) - type);
        probe->frame_side_inverted = memmem(type, n, "inverted", 8) != NULL;
        const char *more = memmem(type, n, " (inverted", 10), *comma = memchr(type, ',', n);
        if (comma && (!more || comma < more)) more = comma;
        snprintf(probe->frame_side_type, sizeof probe->frame_side_type, "%.*s", (int)(more ? (size_t)(more - type) : n),
                 type);
    }
    mem_free(text);
    return 0;
}

static int check_size(int width, int height) {
    if (width < 1 || height < 1) return fail(ERR_INPUT, "its pictures have no size (%d x %d)", width, height);
    if (width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX || (int64_t)width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "its pictures have %d x %d pixels, the limit is %d a side and 2^28 in all", width,
                    height, IMAGE_SIDE_MAX);
    return 0;
}

/* ffmpeg's words about a file, without the file's name before them: our sentence has it already. */
static void drop_name(char *words, const char *path) {
    char shown[PATH_LENGTH], name[PATH_LENGTH + 8];
    snprintf(name, sizeof name, "file:%s: ", err_printable(shown, sizeof shown, path));
    size_t n = strlen(name);
    for (char *at; (at = strstr(words, name));) memmove(at, at + n, strlen(at + n) + 1);
}

static bool is_cut(const VideoFacts *f) {
    return f->announced > f->bytes;
}

/* ffprobe ended with an error. Exit code 1 with a reason is its word for a file it cannot read. */
static int refuse(const ProcessEnd *end, const char *path, const VideoFacts *facts) {
    char shown[300], words[PROCESS_WORDS], missing[120];
    err_printable(shown, sizeof shown, path);
    snprintf(words, sizeof words, "%s", end->words);
    drop_name(words, path);
    if (end->signal || end->code != 1 || !*words) {
        process_judge(end);
        return fail_prefix("%s", shown);
    }
    if (!is_cut(facts)) return fail(ERR_INPUT, "%s: is no film that ffmpeg can read (%s)", shown, words);
    video_describe_cut(facts, missing, sizeof missing);
    return fail(ERR_INPUT, "%s: is cut (%s), and ffmpeg can read nothing of the rest (%s); get the whole film", shown,
                missing, words);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Do frames last equally long? Headers know the rate a film was meant to have; time stamps of a few hundred pictures
 * from `from` seconds on show the one it has. Stamps come in the order of decoding; where the piece is cut some are
 * still to come, so its last ones say nothing. Two stamps of Matroska are off by a millisecond together. */
static int probe_timing(const char *probe_name, const char *input, const VideoOptions *options, double from,
                        VideoFacts *facts) {
    enum { PACKETS = 256, UNSETTLED = 16 };
    char interval[64], *text;
    size_t size;
    double stamps[PACKETS];
    int count = 0;
    int n0 = from > 0 ? snprintf(interval, sizeof interval, "%.3f", from) : 0;
    snprintf(interval + n0, sizeof interval - (size_t)n0, "%%+#%d", PACKETS);
    Arguments list = {{0}, 0};
    ADD(&list, probe_name, "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe", "-select_streams", "V:0",
        "-read_intervals", interval, "-show_entries", "packet=pts_time", "-of", "csv=p=0", "-i", input);
    int rc = ask(&list, PROCESS_OUTPUT, options, &text, &size);
    if (rc) return rc;
    for (const char *at = text, *end = text + size; at < end && count < PACKETS;) {
        char line[32] = "", *rest;
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        memcpy(line, at, n < sizeof line - 1 ? n : sizeof line - 1);
        double v = strtod(line, &rest);
        if (rest != line && isfinite(v)) stamps[count++] = v;
        at += n + 1;
    }
    mem_free(text);
    /* Pictures are put back into order over at most UNSETTLED of them. What lies earlier than that is another clock,
     * and sorted together the two say nothing of a rate. */
    double before = -HUGE_VAL;
    for (int i = UNSETTLED; i < count; i++) {
        before = fmax(before, stamps[i - UNSETTLED]);
        facts->back |= stamps[i] < before;
    }
    bool all = count < PACKETS && from <= 0, whole = all && !is_cut(facts);
    if (all && count && count != facts->frames) {
        facts->frames = count; /* what headers say is often only meant: AVI counts empty chunks */
        facts->frames_counted = false;
    }
    if (facts->back) return 0;
    qsort(stamps, (size_t)count, sizeof *stamps, by_value);
    int settled = whole ? count : count - UNSETTLED;
    if (settled < 3) return 0;
    double least = 1e9, most = 0, mean = (stamps[settled - 1] - stamps[0]) / (settled - 1);
    for (int i = 1; i < settled; i++) {
        least = fmin(least, stamps[i] - stamps[i - 1]);
        most = fmax(most, stamps[i] - stamps[i - 1]);
    }
    if (mean <= 0 || most - least <= 0.1 * mean + 0.0021) return 0;
    facts->variable = true;
    facts->rate = (Rate){llrint(1000 / mean), 1000};
    return 0;
}

int video_facts(const char *path, const VideoOptions *options, VideoFacts *facts) {
    char probe_name[PATH_LENGTH], input[PATH_LENGTH], shown[300], *text;
    size_t size;
    memset(facts, 0, sizeof *facts);
    int rc = ffprobe_name(probe_name);
    if (!rc) rc = file_argument(input, path);
    if (rc) return rc;
    err_printable(shown, sizeof shown, path);
    Arguments list = {{0}, 0};
    ADD(&list, probe_name, "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe", "-select_streams", "V:0",
        "-read_intervals", "%+#1", "-show_streams", "-show_format", "-show_frames", "-of", "json", "-i", input);
    facts->announced = container_announced(path, &facts->bytes);
    ProcessEnd end;
    rc = ask_anyhow(&list, PROCESS_OUTPUT, options, &text, &size, &end);
    if (!rc && (end.signal || end.code)) {
        mem_free(text);
        return refuse(&end, path, facts);
    }
    if (rc) return fail_prefix("%s", shown);
    Probe probe = {.facts = facts};
    rc = parse_probe(text, size, &probe);
    mem_free(text);
    if (rc) return fail_prefix("%s", shown);
    if (!probe.has_stream) return fail(ERR_INPUT, "%s: holds no moving pictures", shown);
    rc = check_size(facts->width, facts->height);
    if (!rc && probe.frame_packed && !*probe.frame_side_type && !*probe.side_type)
        rc = ask_frame_packing(input, options, &probe);
    if (rc) return fail_prefix("%s", shown);
    decide_tag(&probe);
    if (facts->tag == LAYOUT_PAIR)
        return fail(ERR_INPUT,
                    "%s: its eyes are packed in a way that is not read (%s); bring them side by side first with "
                    "ffmpeg's filter stereo3d",
                    shown, facts->tag_source);
    if (!facts->rate.under) facts->rate = probe.base;
    /* The base rate is the finest that can carry all time stamps. A tenth of a percent lies between 24 and 23.976. */
    facts->variable =
        probe.base.under && facts->rate.under && fabs(rate_value(probe.base) / rate_value(facts->rate) - 1) > 0.0005;
    facts->seconds = probe.stream_seconds > 0 ? probe.stream_seconds : fmax(probe.format_seconds, 0);
    if (!facts->bits) facts->bits = 8;
    facts->frames_counted = probe.counted > 0 && !is_cut(facts);
    double guess = facts->seconds * rate_value(facts->rate);
    facts->frames = probe.counted > 0 ? probe.counted : guess < 1e12 ? (int64_t)llrint(guess) : 0;
    facts->promised = facts->frames;
    rc = probe_timing(probe_name, input, options, 0, facts);
    if (!rc && !facts->variable && facts->seconds > 60 &&
        probe_timing(probe_name, input, options, facts->seconds / 2, facts) == ERR_STOPPED)
        rc = ERR_STOPPED; /* any other failure: what has no index cannot be looked at in the middle */
    if (rc) return fail_prefix("%s", shown);
    return 0;
}

void video_describe_cut(const VideoFacts *f, char *out, size_t size) {
    char there[32], all[32];
    text_grouped(there, f->bytes);
    text_grouped(all, f->announced);
    *out = 0;
    if (is_cut(f)) snprintf(out, size, "%s of the %s bytes that its header announces are there", there, all);
}

void video_describe(const VideoFacts *f, char *out, size_t size) {
    char frames[32], count[64] = "", rate[64] = "rate not known", turned[64] = "";
    const char *back = f->back ? ", time stamps go back (frames are taken as they come)" : "";
    text_grouped(frames, f->frames);
    if (f->frames) snprintf(count, sizeof count, ", %s%s frames", f->frames_counted ? "" : "about ", frames);
    if (f->rate.under)
        snprintf(rate, sizeof rate, "%.5g fps%s", rate_value(f->rate), f->variable ? " on average, variable" : "");
    if (f->rotation) snprintf(turned, sizeof turned, ", rotation tag of %d degrees not followed", f->rotation);
    const char *hdr = strcmp(f->transfer, "smpte2084") == 0      ? " HDR (PQ, taken as coded)"
                      : strcmp(f->transfer, "arib-std-b67") == 0 ? " HDR (HLG, taken as coded)"
                                                                 : "";
    snprintf(out, size, "%dx%d, %s%s, %s, %d-bit%s%s%s%s%s", f->width, f->height, rate, back,
             *f->codec ? f->codec : "raw", f->bits, *f->matrix ? " " : "", f->matrix, hdr, turned, count);
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

struct VideoReader {
    Process *process;
    int width, height;
    int64_t frames; /* given so far */
    bool ended;
    char path[PATH_LENGTH], shown[300], complaint[PROCESS_WORDS];
};

/* ffmpeg's names of matrices, where its scaler knows them; "" for RGB. */
static const char *scaler_matrix(const VideoFacts *f) {
    static const struct {
        const char *name, *scaler;
    } known[] = {{"bt709", "bt709"},         {"smpte170m", "smpte170m"}, {"bt470bg", "bt601"},  {"fcc", "fcc"},
                 {"smpte240m", "smpte240m"}, {"bt2020nc", "bt2020"},     {"bt2020c", "bt2020"}, {"gbr", ""}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(f->matrix, known[i].name) == 0) return known[i].scaler;
    if (strncmp(f->pixels, "gbr", 3) == 0 || strncmp(f->pixels, "rgb", 3) == 0 || strncmp(f->pixels, "bgr", 3) == 0)
        return "";
    return f->width > 1024 || f->height > 576 ? "bt709" : "bt601";
}

int video_open(const char *path, const VideoFacts *facts, const VideoReadOptions *options, VideoReader **result) {
    char input[PATH_LENGTH], at[40], filter[1024];
    *result = NULL;
    int rc = file_argument(input, path);
    VideoReader *r = rc ? NULL : mem_zero(1, sizeof *r);
    if (!r) return rc ? rc : ERR_MEMORY;
    snprintf(r->path, sizeof r->path, "%s", path);
    err_printable(r->shown, sizeof r->shown, path);
    r->width = facts->width;
    r->height = facts->height;
    size_t used = 0;
    /* Sizes that change inside a film would be scaled in silence; this crop cannot be set up for any other size, and
     * ffmpeg then ends with an error. */
    used += (size_t)snprintf(filter + used, sizeof filter - used,
                             "crop=w='if(eq(iw\\,%d)*eq(ih\\,%d)\\,iw\\,iw+1)':h=ih:x=0:y=0:exact=1", facts->width,
                             facts->height);
    if (options->skip > 0 || options->every > 1)
        used += (size_t)snprintf(filter + used, sizeof filter - used, ",select='gte(n\\,%lld)*not(mod(n-%lld\\,%lld))'",
                                 (long long)options->skip, (long long)options->skip,
                                 options->every > 1 ? (long long)options->every : 1LL);
    const char *matrix = scaler_matrix(facts);
    used +=
        (size_t)snprintf(filter + used, sizeof filter - used,
                         ",scale=%s%s%sout_range=full:flags=bicubic+accurate_rnd+full_chroma_int+bitexact,format=rgb24",
                         *matrix ? "in_color_matrix=" : "", matrix, *matrix ? ":" : "");
    Arguments list = {{0}, 0};
    ADD(&list, ffmpeg_name(), "-hide_banner", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe",
        "-noautorotate");
    if (options->start > 0) {
        snprintf(at, sizeof at, "%.6f", options->start);
        ADD(&list, "-ss", at);
    }
    ADD(&list, "-i", input, "-map", "0:V:0", "-an", "-sn", "-dn", "-vf", filter, "-fps_mode", "passthrough", "-f",
        "rawvideo", "-pix_fmt", "rgb24", "pipe:1");
    /* frames that are skipped are decoded in silence: a twentieth of a second for each is slow even for 8K */
    rc = start(&list, PROCESS_OUTPUT, &options->run, 0.05 * (double)options->skip, &r->process);
    if (rc) {
        mem_free(r);
        return rc;
    }
    *result = r;
    return 0;
}

static int read_failed(VideoReader *r) {
    if (err_code() == ERR_TOOL && strstr(err_sentence(), "reinitializing filter"))
        return fail(
            ERR_INPUT,
            "%s: the size of the pictures changes after frame %lld (they began with %d x %d); cut the film there",
            r->shown, (long long)r->frames, r->width, r->height);
    return fail_prefix("%s: after %lld frames", r->shown, (long long)r->frames);
}

int video_read(VideoReader *r, Image *frame, bool *end) {
    *end = r->ended;
    if (r->ended) return 0;
    int rc = 0;
    if (frame->width != r->width || frame->height != r->height || frame->channels != 3 || frame->bits != 8) {
        image_free(frame);
        rc = image_make(frame, r->width, r->height, 3, 8);
        if (rc) return rc;
    }
    size_t size = 3 * (size_t)r->width * (size_t)r->height, got = 0;
    rc = process_read(r->process, frame->bytes, size, &got);
    if (rc) {
        process_kill(&r->process);
        r->ended = true;
        return rc == ERR_STOPPED ? rc : read_failed(r);
    }
    if (got == size) {
        r->frames++;
        return 0;
    }
    r->ended = true;
    ProcessEnd ended;
    rc = process_end(&r->process, &ended);
    drop_name(ended.words, r->path);
    if (!rc) rc = process_judge(&ended);
    if (rc) return rc == ERR_STOPPED ? rc : read_failed(r);
    snprintf(r->complaint, sizeof r->complaint, "%s", ended.words);
    if (got)
        return fail(ERR_TOOL, "%s: ffmpeg ended inside frame %lld, %zu bytes short, without saying why", r->shown,
                    (long long)r->frames, size - got);
    *end = true;
    return 0;
}

const char *video_complaint(const VideoReader *r) {
    return r->complaint;
}

void video_close(VideoReader **reader) {
    if (!*reader) return;
    process_kill(&(*reader)->process);
    mem_free(*reader);
    *reader = NULL;
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

bool video_form(const char *path, VideoForm *form) {
    size_t n = strlen(path);
    bool mkv = n > 4 && strcasecmp(path + n - 4, ".mkv") == 0, mp4 = n > 4 && strcasecmp(path + n - 4, ".mp4") == 0;
    if (form) *form = mp4 ? VIDEO_MP4 : VIDEO_MKV;
    return mkv || mp4;
}

struct VideoWriter {
    Process *process;
    int width, height;
    int64_t frames;
    char shown[300];
};

static void show_rate(char out[48], Rate rate) {
    snprintf(out, 48, "%lld/%lld", (long long)rate.over, (long long)rate.under);
}

int video_create(const char *path, VideoForm form, int width, int height, Rate rate, const VideoOptions *options,
                 VideoWriter **result) {
    char output[PATH_LENGTH], size[48], fps[48], scale[32];
    *result = NULL;
    int rc = file_argument(output, path);
    VideoWriter *w = rc ? NULL : mem_zero(1, sizeof *w);
    if (!w) return rc ? rc : ERR_MEMORY;
    err_printable(w->shown, sizeof w->shown, path);
    w->width = width;
    w->height = height;
    snprintf(size, sizeof size, "%dx%d", width, height);
    show_rate(fps, rate);
    snprintf(scale, sizeof scale, "%lld", (long long)rate.over);
    Arguments list = {{0}, 0};
    ADD(&list, ffmpeg_name(), "-hide_banner", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-f",
        "rawvideo", "-pix_fmt", "rgb24", "-video_size", size, "-framerate", fps, "-i", "pipe:0", "-an", "-vf",
        form == VIDEO_MP4 ? "pad=ceil(iw/2)*2:ceil(ih/2)*2,"
                            "scale=out_color_matrix=bt709:out_range=limited,format=yuv420p"
                          : "scale=out_color_matrix=bt709:out_range=limited,format=yuv444p",
        "-c:v", "libx264", "-crf", "18", "-preset", "medium", "-bf", "0", "-colorspace", "bt709", "-color_range", "tv",
        "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-fflags", "+bitexact", "-flags:v", "+bitexact",
        "-video_track_timescale", scale, "-f", "mp4", "-y", output);
    rc = start(&list, PROCESS_INPUT, options, 0, &w->process);
    if (rc) {
        mem_free(w);
        return rc;
    }
    *result = w;
    return 0;
}

int video_write(VideoWriter *w, const Image *frame) {
    BUG_IF(frame->width != w->width || frame->height != w->height || frame->channels != 3 || frame->bits != 8,
           "video_write: a picture of another size");
    int rc = process_write(w->process, frame->bytes, 3 * (size_t)w->width * (size_t)w->height);
    if (!rc) w->frames++;
    return rc && rc != ERR_STOPPED ? fail_prefix("%s", w->shown) : rc;
}

int video_finish(VideoWriter **writer) {
    int rc = process_finish(&(*writer)->process);
    if (rc && rc != ERR_STOPPED) fail_prefix("%s", (*writer)->shown);
    mem_free(*writer);
    *writer = NULL;
    return rc;
}

void video_abandon(VideoWriter **writer) {
    if (!*writer) return;
    process_kill(&(*writer)->process);
    mem_free(*writer);
    *writer = NULL;
}

int video_join(const char *list_path, const char *path, VideoForm form, Rate rate, const char *title,
               const VideoOptions *options) {
    char input[PATH_LENGTH], output[PATH_LENGTH], scale[32], named[512], none[64];
    Process *process;
    int rc = file_argument(input, list_path);
    if (!rc) rc = file_argument(output, path);
    if (rc) return rc;
    snprintf(scale, sizeof scale, "%lld", (long long)rate.over);
    snprintf(named, sizeof named, "title=%s", title ? title : "");
    Arguments list = {{0}, 0};
    ADD(&list, ffmpeg_name(), "-hide_banner", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-f",
        "concat", "-safe", "0", "-i", input, "-map", "0:v:0", "-c", "copy", "-metadata", named, "-fflags", "+bitexact",
        "-flags:v", "+bitexact");
    if (form == VIDEO_MP4)
        ADD(&list, "-video_track_timescale", scale, "-movflags", "+faststart", "-f", "mp4");
    else
        ADD(&list, "-f", "matroska");
    ADD(&list, "-y", output);
    rc = start(&list, PROCESS_OUTPUT, options, 0, &process);
    size_t got;
    if (!rc) rc = process_read(process, none, sizeof none, &got);
    if (rc && process) {
        process_kill(&process);
        return rc;
    }
    return rc ? rc : process_finish(&process);
}

int video_count(const char *path, const VideoOptions *options, int64_t *frames) {
    char probe_name[PATH_LENGTH], input[PATH_LENGTH], *text;
    size_t size;
    int rc = ffprobe_name(probe_name);
    if (!rc) rc = file_argument(input, path);
    if (rc) return rc;
    Arguments list = {{0}, 0};
    ADD(&list, probe_name, "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe", "-select_streams", "v:0",
        "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", "-i", input);
    rc = ask(&list, PROCESS_OUTPUT, options, &text, &size);
    if (rc) return rc;
    char digits[24] = "";
    memcpy(digits, text, size < sizeof digits - 1 ? size : sizeof digits - 1);
    mem_free(text);
    *frames = strtoll(digits, NULL, 10);
    return 0;
}
