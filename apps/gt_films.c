/* apps/gt_films.c - which films there are, what earlier runs did with them, and which of their frames are wanted now.
 *
 * Lines of the journal:
 *   film START COUNT IDENTITY NAME        a video and the numbers of its frames
 *   cut NUMBER                            a shot begins with this frame
 *   shots START COUNT                     all cuts of the film that starts there and has so many frames are noted
 *   frame NUMBER REASON REUSED SWAPPED WIDTH HEIGHT and nine figures, then a sentence or nothing */
#include "apps/gt.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/film_pick.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_there(const char *path, mode_t kind) {
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* The array with room for one more; its room is its count rounded up to a power of two. */
static void *roomy(void *array, int64_t count, size_t item) {
    if (count & (count - 1)) return array;
    return mem_grow(array, (count ? 2 * (size_t)count : 1) * item);
}

static GtFilm *add_film(Gt *gt, const GtFilm *film) {
    if (gt->film_count >= FILM_RANGES_MAX) {
        fail(ERR_INPUT, "there are more than %d films", FILM_RANGES_MAX);
        return NULL;
    }
    GtFilm *grown = roomy(gt->films, gt->film_count, sizeof *grown);
    if (!grown) return NULL;
    gt->films = grown;
    gt->films[gt->film_count] = *film;
    return &gt->films[gt->film_count++];
}

/* The last name of a path without its ending, short enough for film_structure.json. */
static const char *stem_of(Arena *arena, const char *path) {
    char copy[4096], *base = copy;
    snprintf(copy, sizeof copy, "%s", path);
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') copy[--n] = 0;
    if (strrchr(copy, '/') && copy[1]) base = strrchr(copy, '/') + 1;
    char *dot = is_there(path, S_IFDIR) ? NULL : strrchr(base, '.');
    if (dot && dot > base) *dot = 0;
    char shown[201];
    err_printable(shown, sizeof shown, base);
    return arena_text(arena, *shown ? shown : "film");
}

/* ---- finding ---- */

static int find_set(Gt *gt, const char *root) {
    char resolved[4096];
    gt->is_set = true;
    gt->root = arena_text(gt->arena, realpath(root, resolved) ? resolved : root);
    if (!gt->root) return ERR_MEMORY;
    int rc = film_set_find(root, &(FilmSetOptions){0}, &gt->set);
    if (rc) return rc;
    const FilmSet *s = &gt->set;
    for (int64_t i = 0; i < s->frame_count; i++) {
        if (i && s->frames[i].number == s->frames[i - 1].number)
            return fail(ERR_INPUT, "%s and %s have one number, %lld; rename one of them",
                        show_path(s->frames[i - 1].path), show_path(s->frames[i].path), (long long)s->frames[i].number);
        int which = s->frames[i].film;
        if (i && which == s->frames[i - 1].film) {
            GtFilm *last = &gt->films[gt->film_count - 1];
            last->count++;
            if (which < 0) last->end = s->frames[i].number;
            continue;
        }
        GtFilm film = {.first = i, .count = 1, .active = true};
        film.name = which < 0 ? stem_of(gt->arena, root) : s->films[which].name;
        film.start = which < 0 ? s->frames[i].number : s->films[which].start;
        film.end = which < 0 ? s->frames[i].number : s->films[which].end;
        if (!film.name || !add_film(gt, &film)) return err_code();
    }
    return 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The videos that lie in a folder, by name. */
static int list_videos(Gt *gt, const char *folder, const char ***list, int64_t *count) {
    DIR *dir = opendir(folder);
    if (!dir) return fail(ERR_INPUT, "%s: cannot be opened as a folder", show_path(folder));
    int rc = 0;
    for (struct dirent *e; !rc && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        const char *path = arena_format(gt->arena, "%s/%s", folder, e->d_name);
        if (!path) rc = ERR_MEMORY;
        if (rc || !is_there(path, S_IFREG) || !film_is(path)) continue;
        const char **grown = roomy(*list, *count, sizeof *grown);
        if (!grown) rc = ERR_MEMORY;
        if (rc) break;
        *list = grown;
        (*list)[(*count)++] = path;
    }
    closedir(dir);
    if (!rc && *count) qsort(*list, (size_t)*count, sizeof **list, by_text);
    return rc;
}

/* Does the folder hold frames rather than videos? */
static bool holds_frames(const char *folder) {
    char path[4200];
    static const char *const marks[] = {"film_structure.json", "frames", "left"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        snprintf(path, sizeof path, "%.4000s/%s", folder, marks[i]);
        if (is_there(path, i ? S_IFDIR : S_IFREG)) return true;
    }
    return false;
}

static FilmOptions film_options(const Gt *gt, const char *path) {
    return (FilmOptions){.left = path,
                         .layout = (StereoLayout)gt->o->layout,
                         .swap_eyes = gt->o->swap_eyes,
                         .read = gt->read,
                         .run = {.stopped = run_stopped}};
}

/* A film that does not say how long it is is gone through once. */
static int count_frames(const Gt *gt, const char *path, int64_t *frames) {
    Film *film = NULL;
    FilmOptions how = film_options(gt, path);
    bool end = false;
    int rc = film_open(&how, &film);
    if (!rc) rc = film_begin(film, 0);
    for (*frames = 0; !rc && !end;) {
        Image left = {0}, right = {0};
        int64_t number;
        rc = run_stopped() ? run_stop("nothing was begun") : film_next(film, &left, &right, &number, &end);
        if (!rc && !end) *frames = number + 1;
        image_free(&left), image_free(&right);
    }
    film_close(&film);
    return rc;
}

static int find_video(Gt *gt, const char *path) {
    Film *film = NULL;
    FilmOptions how = film_options(gt, path);
    if (!strcmp(path, "-"))
        return usage_error(&verb_gt, "-: frames are picked from films of known length, and a stream has none");
    int rc = film_open(&how, &film);
    if (rc) return rc;
    const FilmFacts *facts = film_facts(film);
    GtFilm found = {.path = path, .count = facts->frames, .active = true, .start = -1, .end = -2};
    memcpy(found.identity, facts->identity, sizeof found.identity);
    say("%s: %s (from %s), %dx%d an eye, %s first; %s", show_path(path), layout_words(facts->decision.layout),
        facts->decision.evidence, facts->width, facts->height, facts->decision.right_first ? "right" : "left",
        facts->what);
    if (*facts->contradiction) say("%s: %s", show_path(path), facts->contradiction);
    film_close(&film);
    if (!found.count) rc = count_frames(gt, path, &found.count);
    if (!rc && (found.count < 1 || found.count > FILM_FRAMES_MAX))
        rc = fail(ERR_INPUT, "%s: has %lld frames; a film has 1 to %d", show_path(path), (long long)found.count,
                  FILM_FRAMES_MAX);
    if (!rc) found.name = stem_of(gt->arena, path);
    for (int64_t i = 0; !rc && i < gt->film_count; i++)
        if (!strcmp(gt->films[i].identity, found.identity))
            rc = usage_error(&verb_gt, "%s: is the same film as %s", show_path(path), show_path(gt->films[i].path));
    if (!rc && (!found.name || !add_film(gt, &found))) rc = err_code();
    return rc;
}

int gt_find(Gt *gt, const char *const *operands, int count) {
    int rc = 0;
    for (int i = 0; !rc && i < count; i++) {
        const char **videos = NULL;
        int64_t found = 0;
        bool folder = is_there(operands[i], S_IFDIR);
        if (folder && !holds_frames(operands[i])) rc = list_videos(gt, operands[i], &videos, &found);
        if (rc) {
            mem_free(videos);
            return rc;
        }
        if (folder && !found) {
            if (count > 1) return usage_error(&verb_gt, "%s: holds frames; one such folder at a time", operands[i]);
            return find_set(gt, operands[i]);
        }
        if (!folder) {
            if (!is_there(operands[i], S_IFREG) && strcmp(operands[i], "-") != 0)
                return fail(ERR_INPUT, "%s: is not there, or neither a film nor a folder", show_path(operands[i]));
            if (!film_is(operands[i]))
                return fail(ERR_INPUT, "%s: is no film; give a folder of frames, or videos", show_path(operands[i]));
            rc = find_video(gt, operands[i]);
        }
        for (int64_t k = 0; !rc && k < found; k++) rc = find_video(gt, videos[k]);
        mem_free(videos);
    }
    return rc;
}

/* ---- what earlier runs did ---- */

int gt_add_record(Gt *gt, const GtRecord *record) {
    GtRecord *grown = roomy(gt->records, gt->record_count, sizeof *grown);
    if (!grown) return err_code();
    gt->records = grown;
    gt->records[gt->record_count] = *record;
    gt->records[gt->record_count].order = gt->record_count;
    gt->record_count++;
    return 0;
}

GtFilm *gt_film_of(const Gt *gt, int64_t number) {
    for (int64_t i = 0; i < gt->film_count; i++)
        if (number >= gt->films[i].start && number <= gt->films[i].end) return &gt->films[i];
    return NULL;
}

static int ascending(const void *a, const void *b) {
    int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
    return (p > q) - (p < q);
}

int gt_add_cut(GtFilm *film, int64_t number) {
    film->shots_begun = true;
    for (int64_t i = film->cut_count; i-- > 0 && film->cuts[i] >= number;)
        if (film->cuts[i] == number) return 0;
    int64_t *grown = roomy(film->cuts, film->cut_count, sizeof *grown);
    if (!grown) return err_code();
    film->cuts = grown;
    film->cuts[film->cut_count++] = number;
    if (film->cut_count > 1 && film->cuts[film->cut_count - 2] > number)
        qsort(film->cuts, (size_t)film->cut_count, sizeof *film->cuts, ascending);
    return 0;
}

int64_t gt_shot(const GtFilm *film, int64_t number) {
    int64_t low = 0, high = film->cut_count; /* cuts before `low` are at or before the number */
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (film->cuts[middle] <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low + 1;
}

static int load_film(Gt *gt, const char *text) {
    long long start, count;
    char identity[65];
    int at = 0;
    if (sscanf(text, "film %18lld %18lld %64[0-9a-f] %n", &start, &count, identity, &at) != 3 || !at || start < 0 ||
        count < 1 || count > FILM_FRAMES_MAX || start > FILM_NUMBER_MAX - count)
        return 0; /* not a line of ours: nothing is lost but its numbers */
    for (int64_t i = 0; i < gt->film_count; i++) {
        GtFilm *f = &gt->films[i];
        if (strcmp(f->identity, identity)) continue;
        f->start = start, f->end = start + count - 1, f->count = count;
        return 0;
    }
    GtFilm film = {.start = start, .end = start + count - 1, .count = count};
    snprintf(film.identity, sizeof film.identity, "%s", identity);
    film.name = arena_text(gt->arena, text + at);
    return film.name && add_film(gt, &film) ? 0 : ERR_MEMORY;
}

static int load_frame(Gt *gt, const char *text) {
    long long number;
    int reason, reused, swapped, at = 0;
    GtRecord r = {0};
    AnchorFigures *f = &r.figures;
    if (sscanf(text, "frame %18lld %4d %4d %4d %8d %8d %lg %lg %lg %lg %lg %lg %lg %lg %lg%n", &number, &reason,
               &reused, &swapped, &r.width, &r.height, &f->eye_order, &f->vertical, &f->consistent, &f->nearest,
               &f->farthest, &f->front, &f->behind, &f->confidence, &f->trusted, &at) != 15 ||
        reason < 0 || reason >= ANCHOR_REASONS || number < 0 || number > FILM_NUMBER_MAX)
        return 0;
    r.number = number;
    r.reason = (AnchorReason)reason;
    r.reused = reused != 0;
    r.swapped = swapped != 0;
    r.why = arena_text(gt->arena, text[at] == ' ' ? text + at + 1 : "");
    return r.why ? gt_add_record(gt, &r) : ERR_MEMORY;
}

static int by_number(const void *a, const void *b) {
    const GtRecord *p = a, *q = b;
    if (p->number != q->number) return (p->number > q->number) - (p->number < q->number);
    return (p->order > q->order) - (p->order < q->order);
}

int gt_load(Gt *gt) {
    int rc = 0;
    for (int64_t i = 0; !rc && i < journal_pieces(gt->journal); i++)
        if (!strncmp(journal_piece(gt->journal, i), "film ", 5)) rc = load_film(gt, journal_piece(gt->journal, i));
    for (int64_t i = 0; !rc && i < journal_pieces(gt->journal); i++) {
        const char *text = journal_piece(gt->journal, i);
        long long number, count;
        GtFilm *film = NULL;
        if (!strncmp(text, "frame ", 6)) rc = load_frame(gt, text);
        if (sscanf(text, "cut %18lld", &number) == 1 && (film = gt_film_of(gt, number))) rc = gt_add_cut(film, number);
        if (sscanf(text, "shots %18lld %18lld", &number, &count) == 2 && (film = gt_film_of(gt, number)) &&
            film->start == number && film->count == count)
            film->shots_whole = film->shots_begun = true;
    }
    if (!rc && gt->record_count) qsort(gt->records, (size_t)gt->record_count, sizeof *gt->records, by_number);
    gt->known = gt->record_count;
    return rc;
}

int gt_register(Gt *gt) {
    int64_t next = 0;
    int rc = 0;
    for (int64_t i = 0; i < gt->film_count; i++)
        if (gt->films[i].start >= 0 && gt->films[i].end >= next) next = gt->films[i].end + 1;
    for (int64_t i = 0; !rc && i < gt->film_count; i++) {
        GtFilm *f = &gt->films[i];
        char text[JOURNAL_TEXT];
        if (f->start >= 0) continue;
        if (next > FILM_NUMBER_MAX - f->count)
            return fail(ERR_INPUT, "the films have more frames than can be numbered");
        f->start = next, f->end = next + f->count - 1;
        next = f->end + 1;
        snprintf(text, sizeof text, "film %lld %lld %s %s", (long long)f->start, (long long)f->count, f->identity,
                 f->name);
        rc = journal_add(gt->journal, text);
    }
    return rc;
}

const GtRecord *gt_record_of(const Gt *gt, int64_t number) {
    int64_t low = 0, high = gt->known; /* the first beyond the number lies in low..high */
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (gt->records[middle].number <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low && gt->records[low - 1].number == number ? &gt->records[low - 1] : NULL;
}

const FilmFrame *gt_frame_of(const Gt *gt, int64_t number) {
    int64_t low = 0, high = gt->set.frame_count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (gt->set.frames[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < gt->set.frame_count && gt->set.frames[low].number == number ? &gt->set.frames[low] : NULL;
}

const char *gt_anchor_path(const Gt *gt, int64_t number, const char *folder, char path[GT_PATH]) {
    const FilmFrame *frame = gt_frame_of(gt, number);
    if (frame) {
        const char *name = strrchr(frame->path, '/') + 1, *dot = strrchr(name, '.');
        snprintf(path, GT_PATH, "%.4000s/%.*s.npz", folder, dot ? (int)(dot - name) : (int)strlen(name), name);
    } else {
        snprintf(path, GT_PATH, "%.4000s/frame_%06lld.npz", folder, (long long)number);
    }
    return path;
}

const char *gt_picture_path(const Gt *gt, int64_t number, const char *eye, char path[GT_PATH]) {
    snprintf(path, GT_PATH, "%s/%s/frame_%06lld.%s", gt->folder, eye, (long long)number,
             gt->o->pictures ? "png" : "jpg");
    return path;
}

bool gt_is_done(const Gt *gt, const GtRecord *record) {
    char path[GT_PATH], folder[4100];
    if (!record || record->swapped != gt->o->swap_eyes) return false;
    if (record->reason) return true;
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    return is_there(gt_anchor_path(gt, record->number, folder, path), S_IFREG) &&
           (gt->is_set || (is_there(gt_picture_path(gt, record->number, "left", path), S_IFREG) &&
                           is_there(gt_picture_path(gt, record->number, "right", path), S_IFREG)));
}

/* ---- picking ---- */

int64_t gt_number_at(const Gt *gt, const GtFilm *film, int64_t index) {
    return gt->is_set ? gt->set.frames[film->first + index].number : film->start + index;
}

static bool is_full(const Gt *gt, const GtFilm *film) {
    for (int i = 0; i < gt->o->full.count; i++)
        if (!strcmp(gt->o->full.items[i], film->name)) return true;
    return false;
}

static int check_full(const Gt *gt) {
    for (int i = 0; i < gt->o->full.count; i++) {
        bool found = false;
        for (int64_t k = 0; k < gt->film_count && !found; k++)
            found = gt->films[k].active && !strcmp(gt->o->full.items[i], gt->films[k].name);
        if (!found)
            return usage_error(&verb_gt, "--full-film: no film is called '%s'; --dry-run lists them",
                               show_path(gt->o->full.items[i]));
    }
    return 0;
}

int gt_pick(Gt *gt) {
    int rc = check_full(gt);
    for (int64_t i = 0; !rc && i < gt->film_count; i++) {
        GtFilm *f = &gt->films[i];
        if (!f->active) continue;
        /* Its own numbers for each film, whatever other films there are: what was picked stays picked when films are
         * added. */
        uint64_t seed = rng_u64((uint64_t)gt->o->seed, fnv1a64(f->name, strlen(f->name)));
        int64_t wanted = is_full(gt, f) ? f->count : gt->o->per_film;
        mem_free(f->picked);
        f->picked = mem_array((size_t)(wanted < f->count ? wanted : f->count), sizeof *f->picked);
        if (!f->picked) return err_code();
        f->picked_count = film_pick(f->count, wanted, seed, f->picked);
        f->missing = 0;
        for (int64_t k = 0; k < f->picked_count; k++)
            f->missing += !gt_is_done(gt, gt_record_of(gt, gt_number_at(gt, f, f->picked[k])));
    }
    return rc;
}
