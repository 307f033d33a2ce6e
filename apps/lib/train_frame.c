/* apps/lib/train_frame.c - one frame of a film by itself, with what belongs to it: its other eye and its anchor. */
#include "apps/lib/run.h"
#include "apps/lib/train_data.h"
#include "base/mem.h"
#include "data/film_set.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FOLDER/NAME.jpg: where its folder is, and its name without the ending. */
typedef struct {
    int folder, stem; /* characters of the path; of the name */
    const char *name;
} PathParts;

static PathParts parts_of(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return (PathParts){(int)(name - path), dot && dot > name ? (int)(dot - name) : (int)strlen(name), name};
}

static const char *there(const char *path) {
    return path && access(path, R_OK) == 0 ? path : NULL;
}

/* The anchor of FRAME.jpg is FRAME.npz: in ANCHORS, beside it, or in the disparities of a folder of frames. */
static const char *anchor_of(const char *anchors, Arena *arena, const char *path) {
    static const char *const places[] = {"", "../disparities/", "../../disparities/"};
    PathParts p = parts_of(path);
    const char *anchor = NULL;
    if (anchors) return there(arena_format(arena, "%s/%.*s.npz", anchors, p.stem, p.name));
    for (int i = 0; i < 3 && !anchor; i++)
        anchor = there(arena_format(arena, "%.*s%s%.*s.npz", p.folder, path, places[i], p.stem, p.name));
    return anchor;
}

/* ROOT/left/NAME has its other eye in ROOT/right/NAME. */
static const char *right_of(Arena *arena, const char *path) {
    static const char left[] = "left/";
    PathParts p = parts_of(path);
    int before = p.folder - (int)strlen(left);
    if (before < 0 || strncmp(path + before, left, strlen(left)) || (before && path[before - 1] != '/')) return NULL;
    return there(arena_format(arena, "%.*sright/%s", before, path, p.name));
}

/* "frame_000123", "000123" or "123" of a folder of frames. */
static const FilmFrame *find_frame(const FilmSet *set, const char *name) {
    char *end;
    long long number = strtoll(name, &end, 10);
    for (int64_t i = 0; i < set->frame_count; i++) {
        const FilmFrame *f = &set->frames[i];
        PathParts p = parts_of(f->path);
        if (((int)strlen(name) == p.stem && !strncmp(name, p.name, (size_t)p.stem)) || (!*end && f->number == number))
            return f;
    }
    return NULL;
}

static int read_found(const FilmFrame *frame, Arena *arena, const char **path, const char **anchor, Sample *sample) {
    *path = arena_text(arena, frame->path);
    *anchor = frame->anchor ? arena_text(arena, frame->anchor) : NULL;
    if (arena_failed(arena)) return ERR_MEMORY;
    return film_frame_read(frame, &(StereoOptions){0}, sample);
}

int train_frame_read(const char *name, const char *films, const char *anchors, Arena *arena, const char **path,
                     const char **anchor, Sample *sample) {
    if (access(name, F_OK) == 0 || !films) {
        FilmFrame frame = {
            .path = name, .right = right_of(arena, name), .anchor = anchor_of(anchors, arena, name), .film = -1};
        return read_found(&frame, arena, path, anchor, sample);
    }
    FilmSet set;
    int code = film_set_find(films, &(FilmSetOptions){.anchors = anchors}, &set);
    if (code) return code;
    const FilmFrame *found = find_frame(&set, name);
    code = found ? read_found(found, arena, path, anchor, sample)
                 : fail(ERR_INPUT, "%s: is no file, and %s has no frame of that name or number", show_path(name),
                        show_path(films));
    film_set_free(&set);
    return code;
}
