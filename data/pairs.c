/* data/pairs.c - finding pairs in folders and lists. Reading them is in pairs_read.c. */
#include "data/pairs.h"
#include "base/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *pairs_layout_name(PairsLayout layout) {
    static const char *const names[] = {"auto", "list", "middlebury", "kitti", "sintel", "sceneflow"};
    return names[layout];
}

/* ---- growing ---- */

static int add_pair(Pairs *pairs, const PairEntry *entry) {
    if (pairs->count >= PAIRS_MAX) return fail(ERR_INPUT, "holds more than %d pairs", PAIRS_MAX);
    if ((pairs->count & (pairs->count - 1)) == 0) { /* room doubles */
        size_t room = pairs->count ? 2 * (size_t)pairs->count : 1;
        PairEntry *grown = mem_grow(pairs->entries, room * sizeof *grown);
        if (!grown) return err_code();
        pairs->entries = grown;
    }
    pairs->entries[pairs->count++] = *entry;
    return 0;
}

static void reject(Pairs *pairs, const char *path, const char *why) {
    char name[300];
    if (pairs->rejected++ < PAIRS_REASONS)
        pairs->reasons[pairs->rejected - 1] =
            arena_format(pairs->arena, "%s: %s", err_printable(name, sizeof name, path), why);
}

static const char *join(Pairs *pairs, const char *folder, const char *name) {
    return arena_format(pairs->arena, "%s/%s", folder, name);
}

static bool is_folder(const char *path) {
    struct stat st;
    return path && !stat(path, &st) && S_ISDIR(st.st_mode);
}
static bool is_file(const char *path) {
    struct stat st;
    return path && !stat(path, &st) && S_ISREG(st.st_mode);
}

/* NAME with the first of these endings that is there; NULL when none is. */
static const char *picture(Pairs *pairs, const char *folder, const char *stem) {
    static const char *const endings[] = {".png", ".ppm", ".pgm", ".jpg", ".jpeg"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *path = arena_format(pairs->arena, "%s/%s%s", folder, stem, endings[i]);
        if (is_file(path)) return path;
    }
    return NULL;
}

static const char *when_file(const char *path) {
    return is_file(path) ? path : NULL;
}

/* The names in a folder but hidden ones, sorted; texts and list are the arena's. */
static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int folder_names(Pairs *pairs, const char *folder, const char ***names, int *count) {
    *names = NULL, *count = 0;
    DIR *dir = opendir(folder);
    if (!dir) {
        char name[300];
        return fail(ERR_INPUT, "%s: cannot be opened as a folder", err_printable(name, sizeof name, folder));
    }
    int code = 0, room = 0;
    const char **list = NULL;
    for (struct dirent *e; !code && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (*count >= PAIRS_MAX) {
            code = fail(ERR_INPUT, "a folder holds more than %d names", PAIRS_MAX);
            break;
        }
        if (*count >= room) {
            room = room ? 2 * room : 64;
            const char **grown = mem_grow((void *)list, (size_t)room * sizeof *grown);
            if (!grown) {
                code = err_code();
                break;
            }
            list = grown;
        }
        list[(*count)++] = arena_text(pairs->arena, e->d_name);
    }
    closedir(dir);
    if (!code && arena_failed(pairs->arena)) code = err_code();
    if (code) {
        mem_free((void *)list);
        return code;
    }
    if (*count) qsort((void *)list, (size_t)*count, sizeof *list, compare_names);
    *names = list;
    return 0;
}

static const char *without_ending(Pairs *pairs, const char *name) {
    const char *dot = name ? strrchr(name, '.') : NULL; /* without memory there are no names, which the end will say */
    return dot ? arena_format(pairs->arena, "%.*s", (int)(dot - name), name) : name;
}

static bool ends_with(const char *text, const char *tail) {
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && !strcmp(text + n - m, tail);
}

/* ---- Middlebury and ETH3D: one folder for each scene ---- */

static int middlebury_scene(Pairs *pairs, const char *folder, const char *name) {
    PairEntry e = {.name = name, .group = name};
    const char *left = picture(pairs, folder, "im0");
    if (left) { /* 2014, 2021, MiddEval3, ETH3D */
        e.left = left, e.right = picture(pairs, folder, "im1");
        e.truth = when_file(join(pairs, folder, "disp0GT.pfm"));
        if (!e.truth) e.truth = when_file(join(pairs, folder, "disp0.pfm"));
        e.truth_right = when_file(join(pairs, folder, "disp1.pfm"));
        e.mask = when_file(join(pairs, folder, "mask0nocc.png"));
        e.mask_form = e.mask ? MASK_SEEN : MASK_NONE;
    } else if ((left = picture(pairs, folder, "view1"))) { /* 2005, 2006 */
        e.left = left, e.right = picture(pairs, folder, "view5");
        e.truth = picture(pairs, folder, "disp1"), e.truth_right = picture(pairs, folder, "disp5");
    } else if ((left = picture(pairs, folder, "im2"))) { /* 2003 */
        e.left = left, e.right = picture(pairs, folder, "im6");
        e.truth = picture(pairs, folder, "disp2"), e.truth_right = picture(pairs, folder, "disp6");
    } else {
        return 0; /* something else */
    }
    if (!e.right || !e.truth) {
        reject(pairs, folder, !e.right ? "the right picture is missing" : "the left eye's disparity is missing");
        return 0;
    }
    return add_pair(pairs, &e);
}

static int find_middlebury(Pairs *pairs, const char *root) {
    const char **names;
    int count;
    if (folder_names(pairs, root, &names, &count)) return err_code();
    const char *last = strrchr(root, '/');
    int code = middlebury_scene(pairs, root, last && last[1] ? last + 1 : root);
    for (int i = 0; i < count && !code; i++) {
        const char *folder = join(pairs, root, names[i]);
        if (is_folder(folder)) code = middlebury_scene(pairs, folder, names[i]);
    }
    mem_free((void *)names);
    return code;
}

/* ---- KITTI ---- */

static int find_kitti(Pairs *pairs, const char *root) {
    bool later = is_folder(join(pairs, root, "image_2")), colour = is_folder(join(pairs, root, "colored_0"));
    const char *left = join(pairs, root, later ? "image_2" : colour ? "colored_0" : "image_0");
    const char *right = join(pairs, root, later ? "image_3" : colour ? "colored_1" : "image_1");
    const char *truth = join(pairs, root, later ? "disp_occ_0" : "disp_occ");
    const char *seen = join(pairs, root, later ? "disp_noc_0" : "disp_noc");
    const char **names;
    int count, code = 0;
    if (folder_names(pairs, truth, &names, &count)) return err_code();
    for (int i = 0; i < count && !code; i++) {
        if (!ends_with(names[i], ".png")) continue;
        PairEntry e = {.name = without_ending(pairs, names[i]), .scale = 256};
        e.group = e.name;
        e.left = join(pairs, left, names[i]), e.right = join(pairs, right, names[i]);
        e.truth = join(pairs, truth, names[i]), e.mask = when_file(join(pairs, seen, names[i]));
        e.mask_form = e.mask ? MASK_TRUTH : MASK_NONE;
        if (!is_file(e.left) || !is_file(e.right))
            reject(pairs, e.truth, "has no pictures beside it");
        else
            code = add_pair(pairs, &e);
    }
    mem_free((void *)names);
    return code;
}

/* ---- Sintel ---- */

static int find_sintel(Pairs *pairs, const char *root) {
    const char *pass = is_folder(join(pairs, root, "clean_left")) ? "clean" : "final";
    const char *left = arena_format(pairs->arena, "%s/%s_left", root, pass);
    const char *right = arena_format(pairs->arena, "%s/%s_right", root, pass);
    const char **scenes;
    int scene_count, code = 0;
    if (folder_names(pairs, left, &scenes, &scene_count)) return err_code();
    for (int s = 0; s < scene_count && !code; s++) {
        const char *folder = join(pairs, left, scenes[s]), **names;
        int count;
        if (!is_folder(folder)) continue;
        code = folder_names(pairs, folder, &names, &count);
        for (int i = 0; i < count && !code; i++) {
            if (!ends_with(names[i], ".png")) continue;
            const char *place = join(pairs, scenes[s], names[i]);
            PairEntry e = {.name = without_ending(pairs, place), .group = scenes[s], .form = TRUTH_SINTEL};
            e.left = join(pairs, left, place), e.right = join(pairs, right, place);
            e.truth = arena_format(pairs->arena, "%s/disparities/%s", root, place);
            e.mask = when_file(arena_format(pairs->arena, "%s/occlusions/%s", root, place));
            e.mask_also = when_file(arena_format(pairs->arena, "%s/outofframe/%s", root, place));
            e.mask_form = e.mask ? MASK_HIDDEN : MASK_NONE;
            if (!is_file(e.right) || !is_file(e.truth))
                reject(pairs, e.left, is_file(e.right) ? "its disparity is missing" : "the right picture is missing");
            else
                code = add_pair(pairs, &e);
        }
        mem_free((void *)names);
    }
    mem_free((void *)scenes);
    return code;
}

/* ---- SceneFlow ---- */

enum { DEPTH_MAX = 8 }; /* of folders within folders */

/* `place`: where below frames_cleanpass and disparity. */
static int scene_flow_folder(Pairs *pairs, const char *frames, const char *disparity, const char *place, int depth) {
    const char **names;
    int count, code = 0;
    if (depth > DEPTH_MAX) return fail(ERR_INPUT, "folders lie more than %d deep in each other", DEPTH_MAX);
    if (folder_names(pairs, join(pairs, frames, place), &names, &count)) return err_code();
    for (int i = 0; i < count && !code; i++) {
        const char *below = join(pairs, place, names[i]), *folder = join(pairs, frames, below);
        if (!is_folder(folder)) continue;
        if (strcmp(names[i], "left")) {
            if (strcmp(names[i], "right")) code = scene_flow_folder(pairs, frames, disparity, below, depth + 1);
            continue;
        }
        const char **pictures;
        int picture_count;
        code = folder_names(pairs, folder, &pictures, &picture_count);
        for (int k = 0; k < picture_count && !code; k++) {
            const char *stem = without_ending(pairs, pictures[k]);
            if (!ends_with(pictures[k], ".png")) {
                reject(pairs, join(pairs, folder, pictures[k]), "is no PNG; convert it with ffmpeg");
                continue;
            }
            PairEntry e = {.name = arena_format(pairs->arena, "%s/%s", place + 2, stem), .group = place + 2};
            e.left = join(pairs, folder, pictures[k]);
            e.right = arena_format(pairs->arena, "%s/%s/right/%s", frames, place, pictures[k]);
            e.truth = arena_format(pairs->arena, "%s/%s/left/%s.pfm", disparity, place, stem);
            e.truth_right = when_file(arena_format(pairs->arena, "%s/%s/right/%s.pfm", disparity, place, stem));
            if (!is_file(e.right) || !is_file(e.truth))
                reject(pairs, e.left, is_file(e.right) ? "its disparity is missing" : "the right picture is missing");
            else
                code = add_pair(pairs, &e);
        }
        mem_free((void *)pictures);
    }
    mem_free((void *)names);
    return code;
}

static int find_scene_flow(Pairs *pairs, const char *root) {
    const char *frames = join(pairs, root, "frames_cleanpass");
    if (!is_folder(frames)) frames = join(pairs, root, "frames_finalpass");
    return scene_flow_folder(pairs, frames, join(pairs, root, "disparity"), ".", 0);
}

/* ---- lists ---- */

enum { LIST_BYTES_MAX = 1 << 28, COLUMNS_MAX = 32, LINE_MAX_BYTES = 16384 };
typedef enum {
    COLUMN_LEFT,
    COLUMN_RIGHT,
    COLUMN_TRUTH,
    COLUMN_TRUTH_RIGHT,
    COLUMN_SCALE,
    COLUMN_MASK,
    COLUMN_TRUTH_SEEN,
    COLUMN_NAME,
    COLUMN_GROUP,
    COLUMNS
} Column;
static const char *const column_names[COLUMNS] = {"left", "right",      "truth", "truth_right", "scale",
                                                  "mask", "truth_seen", "name",  "group"};

static const char *list_path(Pairs *pairs, const char *folder, const char *text) {
    if (!text || !*text) return NULL;
    return *text == '/' ? text : join(pairs, folder, text);
}

/* Cuts a line at its tabs. */
static int cut_line(char *line, char *fields[COLUMNS_MAX]) {
    int count = 0;
    for (char *at = line; at && count < COLUMNS_MAX;) {
        fields[count++] = at;
        at = strchr(at, '\t');
        if (at) *at++ = 0;
    }
    return count;
}

int pairs_list_parse(Pairs *pairs, const char *folder, const uint8_t *bytes, size_t size) {
    int where[COLUMNS], code = 0;
    int64_t number = 0;
    for (int k = 0; k < COLUMNS; k++) where[k] = -1;
    for (size_t at = 0; at < size && !code;) {
        const uint8_t *end = memchr(bytes + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (bytes + at)) : size - at, next = at + length + 1;
        number++;
        if (length > LINE_MAX_BYTES || memchr(bytes + at, 0, length))
            return fail(ERR_INPUT,
                        "line %lld is longer than %d bytes or holds a zero byte, so this is no list of pairs",
                        (long long)number, LINE_MAX_BYTES);
        if (length && bytes[at + length - 1] == '\r') length--;
        char *line = arena_alloc(pairs->arena, length + 1), *fields[COLUMNS_MAX];
        if (!line) return err_code();
        memcpy(line, bytes + at, length);
        at = next;
        if (!*line || *line == '#') continue;
        int count = cut_line(line, fields);
        if (where[COLUMN_LEFT] < 0) { /* the first line that says something */
            for (int i = 0; i < count; i++)
                for (int k = 0; k < COLUMNS; k++)
                    if (!strcmp(fields[i], column_names[k])) where[k] = i;
            if (where[COLUMN_LEFT] < 0 || where[COLUMN_RIGHT] < 0 || where[COLUMN_TRUTH] < 0)
                return fail(ERR_INPUT, "line %lld does not name the columns left, right and truth, separated by tabs",
                            (long long)number);
            continue;
        }
        const char *value[COLUMNS];
        for (int k = 0; k < COLUMNS; k++)
            value[k] = where[k] >= 0 && where[k] < count && *fields[where[k]] ? fields[where[k]] : NULL;
        PairEntry e = {.left = list_path(pairs, folder, value[COLUMN_LEFT]),
                       .right = list_path(pairs, folder, value[COLUMN_RIGHT]),
                       .truth = list_path(pairs, folder, value[COLUMN_TRUTH]),
                       .truth_right = list_path(pairs, folder, value[COLUMN_TRUTH_RIGHT]),
                       .mask = list_path(pairs, folder, value[COLUMN_MASK])};
        e.name = value[COLUMN_NAME] ? value[COLUMN_NAME] : value[COLUMN_LEFT];
        e.group = value[COLUMN_GROUP] ? value[COLUMN_GROUP] : e.name;
        e.mask_form = e.mask ? MASK_SEEN : MASK_NONE;
        if (value[COLUMN_TRUTH_SEEN]) {
            if (e.mask)
                return fail(ERR_INPUT, "line %lld has both a mask and a truth_seen; one of them is enough",
                            (long long)number);
            e.mask = list_path(pairs, folder, value[COLUMN_TRUTH_SEEN]);
            e.mask_form = MASK_TRUTH;
        }
        if (!e.left || !e.right || !e.truth)
            return fail(ERR_INPUT, "line %lld lacks a left picture, a right picture or a truth", (long long)number);
        if (value[COLUMN_SCALE]) {
            char *rest;
            e.scale = strtod(value[COLUMN_SCALE], &rest);
            if (*rest || !(e.scale > 0 && e.scale <= 65536))
                return fail(ERR_INPUT, "line %lld: a scale is a number above 0, up to 65536", (long long)number);
        }
        code = add_pair(pairs, &e);
    }
    if (!code && arena_failed(pairs->arena)) code = err_code();
    return code;
}

static int find_list(Pairs *pairs, const char *path, const char *folder) {
    uint8_t *bytes;
    size_t size;
    if (file_read(path, LIST_BYTES_MAX, &bytes, &size)) return err_code();
    const char *slash = strrchr(path, '/');
    if (!folder) folder = slash ? arena_format(pairs->arena, "%.*s", (int)(slash - path), path) : ".";
    int code = pairs_list_parse(pairs, folder, bytes, size);
    mem_free(bytes);
    char name[300];
    return code ? fail_prefix("%s", err_printable(name, sizeof name, path)) : 0;
}

/* ---- all of them ---- */

static PairsLayout recognise(Pairs *pairs, const char *root) {
    if (is_file(root)) return PAIRS_LIST;
    if (is_folder(join(pairs, root, "disp_occ")) || is_folder(join(pairs, root, "disp_occ_0"))) return PAIRS_KITTI;
    if (is_folder(join(pairs, root, "disparities"))) return PAIRS_SINTEL;
    if (is_folder(join(pairs, root, "disparity")) &&
        (is_folder(join(pairs, root, "frames_cleanpass")) || is_folder(join(pairs, root, "frames_finalpass"))))
        return PAIRS_SCENEFLOW;
    return PAIRS_MIDDLEBURY;
}

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const PairEntry *)a)->name, ((const PairEntry *)b)->name);
}

int pairs_find(const char *path, PairsLayout layout, Pairs *pairs) {
    char name[300];
    *pairs = (Pairs){.arena = arena_make()};
    if (!pairs->arena) return err_code();
    int code = 0;
    if (!is_file(path) && !is_folder(path))
        code = fail(ERR_INPUT, "%s: is neither a folder nor a file", err_printable(name, sizeof name, path));
    const char *root = path, *training = join(pairs, path, "training");
    if (is_folder(training)) root = training;
    if (!code) {
        pairs->layout = layout == PAIRS_AUTO ? recognise(pairs, root) : layout;
        switch (pairs->layout) {
        case PAIRS_LIST:
            code = find_list(pairs, path, NULL);
            break;
        case PAIRS_KITTI:
            code = find_kitti(pairs, root);
            break;
        case PAIRS_SINTEL:
            code = find_sintel(pairs, root);
            break;
        case PAIRS_SCENEFLOW:
            code = find_scene_flow(pairs, root);
            break;
        default:
            code = find_middlebury(pairs, root);
        }
    }
    if (!code && arena_failed(pairs->arena)) code = err_code();
    if (!code && !pairs->count)
        code = pairs->rejected ? fail(ERR_INPUT, "%s: holds no complete pair; %s",
                                      err_printable(name, sizeof name, path), pairs->reasons[0])
                               : fail(ERR_INPUT,
                                      "%s: holds no stereo pairs with truth as Middlebury, ETH3D, KITTI, Sintel or "
                                      "SceneFlow lay them out",
                                      err_printable(name, sizeof name, path));
    if (code) {
        pairs_free(pairs);
        return code;
    }
    if (pairs->layout != PAIRS_LIST)
        qsort(pairs->entries, (size_t)pairs->count, sizeof *pairs->entries, compare_entries);
    return 0;
}

int pairs_find_list(const char *path, const char *folder, Pairs *pairs) {
    char name[300];
    *pairs = (Pairs){.arena = arena_make(), .layout = PAIRS_LIST};
    if (!pairs->arena) return err_code();
    int code = find_list(pairs, path, folder);
    if (!code && !pairs->count) code = fail(ERR_INPUT, "%s: holds no pair", err_printable(name, sizeof name, path));
    if (code) pairs_free(pairs);
    return code;
}

void pairs_free(Pairs *pairs) {
    mem_free(pairs->entries);
    arena_drop(pairs->arena);
    *pairs = (Pairs){0};
}
