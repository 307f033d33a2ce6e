/* data/film_set.c - finding frames and their films, and dividing them. Reading them is in film_set_read.c. */
#include "data/film_set.h"
#include "base/file.h"
#include "base/json.h"
#include "data/pairs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static bool is_folder(const char *path) {
    struct stat st;
    return path && !stat(path, &st) && S_ISDIR(st.st_mode);
}
static bool is_file(const char *path) {
    struct stat st;
    return path && !stat(path, &st) && S_ISREG(st.st_mode);
}

/* The array with room for one more item; its room is its count rounded up to a power of two. NULL when there is no
 * memory, and then it stays as it was. */
static void *roomy(void *array, int64_t count, size_t item) {
    if (count & (count - 1)) return array;
    return mem_grow(array, (count ? 2 * (size_t)count : 1) * item);
}

static int reject(FilmSet *set, const char *path, const char *why) {
    FilmRejected *grown = roomy(set->rejected, set->rejected_count, sizeof *grown);
    if (!grown) return err_code();
    set->rejected = grown;
    set->rejected[set->rejected_count++] = (FilmRejected){path, why};
    return 0;
}

/* ---- film_structure.json ---- */

/* One {...} of the list; its opening brace has been read. */
static int parse_range(FilmSet *set, Json *json, FilmRange *range) {
    enum { NAME = 1, START = 2, END = 4 };
    int seen = 0;
    *range = (FilmRange){0};
    for (;;) {
        JsonKind kind = json_next(json);
        if (kind == JSON_OBJECT_END) break;
        if (kind != JSON_KEY) return fail(ERR_INPUT, "byte %zu: %s", json->at, json->error ? json->error : "no key");
        int which = json_is(json, "name") ? NAME : json_is(json, "start") ? START : json_is(json, "end") ? END : 0;
        if (!which) {
            if (json_skip(json)) return fail(ERR_INPUT, "byte %zu: %s", json->at, json->error);
            continue;
        }
        if (seen & which) return fail(ERR_INPUT, "byte %zu: a film says its name, start or end twice", json->at);
        seen |= which;
        kind = json_next(json);
        if (which == NAME) {
            char name[FILM_NAME_MAX + 1];
            if (kind != JSON_STRING || !json_string(json, name, sizeof name) || !*name)
                return fail(ERR_INPUT, "byte %zu: a film's name is a text of 1 to %d bytes", json->at, FILM_NAME_MAX);
            if (!(range->name = arena_text(set->arena, name))) return err_code();
        } else {
            if (kind != JSON_NUMBER || !json->number_is_whole || json->whole < 0 || json->whole > FILM_NUMBER_MAX)
                return fail(ERR_INPUT, "byte %zu: a film's start and end are whole numbers from 0 to %lld", json->at,
                            FILM_NUMBER_MAX);
            *(which == START ? &range->start : &range->end) = json->whole;
        }
    }
    if (seen != (NAME | START | END)) return fail(ERR_INPUT, "byte %zu: a film lacks its name, start or end", json->at);
    if (range->start > range->end)
        return fail(ERR_INPUT, "byte %zu: a film ends at %lld, before its start at %lld", json->at,
                    (long long)range->end, (long long)range->start);
    return 0;
}

static int by_start(const void *a, const void *b) {
    const FilmRange *p = a, *q = b;
    return (p->start > q->start) - (p->start < q->start);
}

int film_structure_parse(FilmSet *set, const uint8_t *text, size_t size) {
    Json json;
    json_begin(&json, text, size, 16);
    if (json_next(&json) != JSON_ARRAY)
        return fail(ERR_INPUT, "byte %zu: %s", json.at, json.error ? json.error : "this is no list of films");
    for (;;) {
        JsonKind kind = json_next(&json);
        if (kind == JSON_ARRAY_END) break;
        if (kind != JSON_OBJECT)
            return fail(ERR_INPUT, "byte %zu: %s", json.at,
                        json.error ? json.error : "a film is an object with name, start and end");
        if (set->film_count >= FILM_RANGES_MAX)
            return fail(ERR_INPUT, "byte %zu: there are more than %d films", json.at, FILM_RANGES_MAX);
        FilmRange range, *grown;
        if (parse_range(set, &json, &range)) return err_code();
        if (!(grown = roomy(set->films, set->film_count, sizeof *grown))) return err_code();
        set->films = grown;
        set->films[set->film_count++] = range;
    }
    if (json_next(&json) != JSON_END) return fail(ERR_INPUT, "byte %zu: something follows the list of films", json.at);
    if (set->film_count) qsort(set->films, (size_t)set->film_count, sizeof *set->films, by_start);
    for (int64_t i = 1; i < set->film_count; i++)
        if (set->films[i].start <= set->films[i - 1].end) {
            char a[300], b[300];
            return fail(ERR_INPUT, "the films '%s' and '%s' both have frame %lld",
                        err_printable(a, sizeof a, set->films[i - 1].name),
                        err_printable(b, sizeof b, set->films[i].name), (long long)set->films[i].start);
        }
    return 0;
}

static int read_structure(FilmSet *set, const char *path) {
    uint8_t *bytes;
    size_t size;
    char name[300];
    if (file_read(path, FILM_STRUCTURE_BYTES_MAX, &bytes, &size)) return err_code();
    int code = film_structure_parse(set, bytes, size);
    mem_free(bytes);
    return code ? fail_prefix("%s", err_printable(name, sizeof name, path)) : 0;
}

/* ---- frames ---- */

/* What stands between the first "_" and the ending, when that is a number; else -1. */
static int64_t number_of(const char *name) {
    const char *at = strchr(name, '_'), *dot = strrchr(name, '.');
    if (!at || !dot || dot <= at + 1 || dot - at > 18) return -1;
    int64_t number = 0;
    for (at++; at < dot; at++) {
        if (*at < '0' || *at > '9') return -1;
        number = number * 10 + (*at - '0');
    }
    return number <= FILM_NUMBER_MAX ? number : -1;
}

static bool is_picture(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".pnm", ".mpo", ".jps"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}

static int film_of(const FilmSet *set, int64_t number) {
    int64_t low = 0, high = set->film_count; /* the first film that ends at or after it lies in low..high */
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (set->films[middle].end < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->film_count && set->films[low].start <= number ? (int)low : -1;
}

static int by_number(const void *a, const void *b) {
    const FilmFrame *p = a, *q = b;
    if (p->number != q->number) return (p->number > q->number) - (p->number < q->number);
    return strcmp(p->path, q->path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const FilmFrame *)a)->path, ((const FilmFrame *)b)->path);
}

static int list_pictures(FilmSet *set, const char *folder) {
    char name[300];
    DIR *dir = opendir(folder);
    if (!dir) return fail(ERR_INPUT, "%s: cannot be opened as a folder", err_printable(name, sizeof name, folder));
    int code = 0;
    for (struct dirent *e; !code && (e = readdir(dir));) {
        if (e->d_name[0] == '.' || !is_picture(e->d_name)) continue;
        if (set->frame_count >= FILM_FRAMES_MAX)
            code = fail(ERR_INPUT, "%s: holds more than %d pictures", err_printable(name, sizeof name, folder),
                        FILM_FRAMES_MAX);
        const char *path = code ? NULL : arena_format(set->arena, "%s/%s", folder, e->d_name);
        FilmFrame *grown = path ? roomy(set->frames, set->frame_count, sizeof *grown) : NULL;
        if (!code && !grown) code = err_code();
        if (code) break;
        set->frames = grown;
        set->frames[set->frame_count++] = (FilmFrame){.path = path, .number = number_of(e->d_name), .film = -1};
    }
    closedir(dir);
    return code;
}

/* Pairs up, numbers, assigns and, where something is missing, rejects. */
static int settle(FilmSet *set, const char *rights, const char *anchors, const FilmSetOptions *o, bool structured) {
    if (set->frame_count) qsort(set->frames, (size_t)set->frame_count, sizeof *set->frames, by_name);
    int64_t kept = 0;
    for (int64_t i = 0; i < set->frame_count; i++) {
        FilmFrame f = set->frames[i];
        const char *name = strrchr(f.path, '/') + 1, *why = NULL, *dot = strrchr(name, '.');
        if (f.number < 0 && structured)
            why = "its name holds no number between _ and the ending, so it belongs to no film";
        else if (f.number < 0)
            f.number = i;
        if (rights) {
            f.right = arena_format(set->arena, "%s/%s", rights, name);
            if (!why && !is_file(f.right)) why = "the right eye's picture of this name is missing";
        }
        if (structured && !why && (f.film = film_of(set, f.number)) < 0)
            why = "its number lies in no film of film_structure.json";
        if (anchors) {
            f.anchor = arena_format(set->arena, "%s/%.*s.npz", anchors, (int)(dot - name), name);
            if (!is_file(f.anchor)) f.anchor = NULL;
        }
        if (!why && o->need_anchors && !f.anchor) why = "it has no anchor";
        if (why && reject(set, f.path, why)) return err_code();
        if (why) continue;
        if (o->taught_only && anchors && !f.anchor)
            set->untaught++;
        else
            set->frames[kept++] = f;
    }
    set->frame_count = kept;
    if (kept) qsort(set->frames, (size_t)kept, sizeof *set->frames, by_number);
    return arena_failed(set->arena) ? err_code() : 0;
}

int film_set_find(const char *root, const FilmSetOptions *options, FilmSet *set) {
    char name[300];
    *set = (FilmSet){.arena = arena_make()};
    if (!set->arena) return err_code();
    static const char *const places[] = {"frames/sbs", "frames/fSBS_3D", "frames", "left", "."};
    const char *folder = NULL, *rights = NULL, *anchors = options ? options->anchors : NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        folder = arena_format(set->arena, "%s/%s", root, places[i]);
        if (!strcmp(places[i], "left")) {
            rights = arena_format(set->arena, "%s/right", root);
            if (is_folder(folder) && is_folder(rights)) break;
            rights = NULL;
            continue;
        }
        if (is_folder(folder)) break;
    }
    if (!anchors) {
        anchors = arena_format(set->arena, "%s/disparities", root);
        if (!is_folder(anchors)) anchors = NULL;
    }
    const char *structure = arena_format(set->arena, "%s/film_structure.json", root);
    bool structured = is_file(structure);
    int code = arena_failed(set->arena) ? err_code() : 0;
    if (!code && structured) code = read_structure(set, structure);
    if (!code) code = list_pictures(set, folder);
    if (!code) code = settle(set, rights, anchors, options ? options : &(FilmSetOptions){0}, structured);
    if (!code && !set->frame_count && set->untaught)
        code = fail(ERR_INPUT, "%s: none of its frames has an anchor", err_printable(name, sizeof name, root));
    if (!code && !set->frame_count)
        code = set->rejected_count
                   ? fail(ERR_INPUT, "%s: none of %lld pictures can be used; of the first, %s",
                          err_printable(name, sizeof name, root), (long long)set->rejected_count, set->rejected[0].why)
                   : fail(ERR_INPUT, "%s: holds no pictures", err_printable(name, sizeof name, root));
    if (code) film_set_free(set);
    return code;
}

void film_set_free(FilmSet *set) {
    mem_free(set->films), mem_free(set->frames), mem_free(set->rejected);
    arena_drop(set->arena);
    *set = (FilmSet){0};
}

/* ---- training and judging ---- */

void film_set_split(const FilmSet *set, double share, uint64_t seed, uint8_t *use) {
    int64_t n = set->frame_count, wanted = (int64_t)(share * (double)n + 0.5), films = 0, last = -1;
    memset(use, FRAME_TRAINS, (size_t)n);
    if (wanted < 1 || n < 1) return;
    for (int64_t i = 0; i < n; i++) /* frames of a film lie together, for films are ranges of numbers */
        if (set->frames[i].film >= 0 && set->frames[i].film != last) films++, last = set->frames[i].film;
    if (films >= 2) {
        int64_t judged = 0;
        for (int64_t turn = 0; turn < films - 1 && judged < wanted; turn++) {
            int64_t which = shuffled(seed, films, turn), at = -1;
            last = -1;
            for (int64_t i = 0; i < n; i++) {
                if (set->frames[i].film != last) at++, last = set->frames[i].film;
                if (at == which) use[i] = FRAME_JUDGES, judged++;
            }
        }
        return;
    }
    int64_t margin = n / 100 + 1;
    if (wanted > n - 2 * margin - 1) wanted = n - 2 * margin - 1;
    if (wanted < 1) return; /* too few to divide: all train */
    int64_t from = shuffled(seed, n - wanted + 1, 0);
    for (int64_t i = from - margin; i < from + wanted + margin; i++)
        if (i >= 0 && i < n) use[i] = i >= from && i < from + wanted ? FRAME_JUDGES : FRAME_NEITHER;
}

/* ---- divided frame by frame, as published ---- */

/* Mersenne Twister MT19937 (Matsumoto and Nishimura, ACM TOMACS 8, 1998), seeded by one number as they do. */
enum { TWISTER_WORDS = 624, TWISTER_AHEAD = 397 };
typedef struct {
    uint32_t word[TWISTER_WORDS];
    int at;
} Twister;

static Twister twister_of(uint32_t seed) {
    Twister t = {.at = TWISTER_WORDS};
    t.word[0] = seed;
    for (uint32_t i = 1; i < TWISTER_WORDS; i++) t.word[i] = 1812433253u * (t.word[i - 1] ^ t.word[i - 1] >> 30) + i;
    return t;
}

static uint32_t twister_next(Twister *t) {
    if (t->at == TWISTER_WORDS) {
        for (int i = 0; i < TWISTER_WORDS; i++) {
            uint32_t y = (t->word[i] & 0x80000000u) | (t->word[(i + 1) % TWISTER_WORDS] & 0x7fffffffu);
            t->word[i] = t->word[(i + TWISTER_AHEAD) % TWISTER_WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        t->at = 0;
    }
    uint32_t y = t->word[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* Of 0..most, each as likely: numbers of as many bits as `most` has, until one is not above it. */
static uint32_t twister_below(Twister *t, uint32_t most) {
    uint32_t mask = most, value;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    do value = twister_next(t) & mask;
    while (value > most);
    return value;
}

typedef struct {
    const char *name;
    int64_t index;
} FrameName;

static int by_frame_name(const void *a, const void *b) {
    return strcmp(((const FrameName *)a)->name, ((const FrameName *)b)->name);
}

int film_set_split_frames(const FilmSet *set, uint8_t *use) {
    int64_t n = set->frame_count, judges = n / 10 > 1 ? n / 10 : 1;
    FrameName *frames = mem_array((size_t)n + 1, sizeof *frames);
    if (!frames) return err_code();
    memset(use, FRAME_TRAINS, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        const char *slash = strrchr(set->frames[i].path, '/');
        frames[i] = (FrameName){slash ? slash + 1 : set->frames[i].path, i};
    }
    qsort(frames, (size_t)n, sizeof *frames, by_frame_name);
    Twister twister = twister_of(42);
    for (int64_t i = n - 1; i > 0; i--) {
        uint32_t other = twister_below(&twister, (uint32_t)i);
        FrameName kept = frames[i];
        frames[i] = frames[other];
        frames[other] = kept;
    }
    for (int64_t i = n > judges ? n - judges : 0; i < n; i++) use[frames[i].index] = FRAME_JUDGES;
    mem_free(frames);
    return 0;
}
