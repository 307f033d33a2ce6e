/* apps/match_plan.c - from the operands of `panum match` to jobs with their outputs.
 *
 * Names of outputs that were not given are made from the input's. Everything that can be refused is refused here: what
 * exists already, what is also an input, what would be written twice, places that cannot be written to. */
#include "apps/match.h"
#include "base/err.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool match_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* FOLDER/NAME and `tail`, NAME being the input's name without its ending; beside the input when folder is NULL. */
static const char *tagged_name(Arena *arena, const char *folder, const char *input, const char *tail) {
    const char *slash = strrchr(input, '/'), *base = slash ? slash + 1 : input, *dot = strrchr(base, '.');
    int stem = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
    if (!folder) return arena_format(arena, "%.*s%.*s%s", (int)(base - input), input, stem, base, tail);
    size_t n = strlen(folder);
    return arena_format(arena, "%s%s%.*s%s", folder, folder[n - 1] == '/' ? "" : "/", stem, base, tail);
}

static bool names_folder(const char *path) {
    return path[strlen(path) - 1] == '/' || match_is_folder(path);
}

static int no_folder(const char *path) {
    return usage_error(&verb_match, "%s: many pictures need a folder to be written to, as %s/", show_path(path),
                       show_path(path));
}

/* A name that ends in / says that a folder is meant; one that is not there is made, as for films, when there is
 * something to put into it. */
static bool is_missing_folder(const char *path) {
    return path[strlen(path) - 1] == '/' && !match_is_folder(path);
}

static int make_folder(const char *path) {
    if (!path || !is_missing_folder(path) || mkdir(path, 0777) == 0 || errno == EEXIST) return 0;
    return fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: the folder cannot be made: %s", show_path(path),
                strerror(errno));
}

int match_make_folders(const MatchOptions *o) {
    int rc = make_folder(o->anaglyph);
    for (int i = 0; !rc && i < o->outputs.count; i++) rc = make_folder(o->outputs.items[i]);
    return rc;
}

/* Could make_folder make it? */
static int check_folder(Arena *arena, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *bare = arena_format(arena, "%.*s", (int)n, path);
    return bare ? out_check(bare, OUT_NEW) : ERR_MEMORY;
}

static bool will_hold(const char *folder, const char *path) {
    return folder && is_missing_folder(folder) && strncmp(path, folder, strlen(folder)) == 0;
}

static bool in_missing_folder(const MatchOptions *o, const char *path) {
    bool in = will_hold(o->anaglyph, path);
    for (int i = 0; !in && i < o->outputs.count; i++) in = will_hold(o->outputs.items[i], path);
    return in;
}

static void add_output(Job *job, const char *path, OutputForm form) {
    job->outputs[job->output_count++] = (Output){path, form};
}

static int plan_outputs(Work *work, Job *job, bool many) {
    const OptionList *asked = &work->o->outputs;
    const char *anaglyph = work->o->anaglyph;
    Arena *arena = work->arena;
    bool has_points = false;
    job->outputs = arena_alloc(arena, (size_t)(2 * asked->count + 3) * sizeof *job->outputs);
    if (!job->outputs) return ERR_MEMORY;
    for (int i = 0; i < asked->count || (i == 0 && !asked->count); i++) {
        const char *path = asked->count ? asked->items[i] : NULL;
        if (!path || names_folder(path)) {
            int rc = path && is_missing_folder(path) ? check_folder(arena, path) : 0;
            if (rc) return rc;
            add_output(job, tagged_name(arena, path, job->left, "_disparity.npz"), OUTPUT_NPZ);
            add_output(job, tagged_name(arena, path, job->left, "_disparity.png"), OUTPUT_COLOUR);
        } else {
            OutputForm form = OUTPUT_NPZ;
            int rc = many ? no_folder(path) : output_form(path, &form);
            if (rc) return rc;
            add_output(job, path, form);
            if (form == OUTPUT_PLY && !work->o->calib && work->o->fov == 0)
                return usage_error(&verb_match, "%s: points in space need --calib FILE or --fov DEGREES",
                                   show_path(path));
            has_points |= form == OUTPUT_PLY;
        }
    }
    if (!has_points && (work->o->calib || work->o->fov > 0))
        return usage_error(&verb_match, "--calib and --fov are for a .ply output, and there is none");
    if (anaglyph && names_folder(anaglyph)) {
        int rc = is_missing_folder(anaglyph) ? check_folder(arena, anaglyph) : 0;
        if (rc) return rc;
        add_output(job, tagged_name(arena, anaglyph, job->left, "_anaglyph.png"), OUTPUT_ANAGLYPH);
    } else if (anaglyph) {
        OutputForm form = OUTPUT_NPZ;
        int rc = many ? no_folder(anaglyph) : output_form(anaglyph, &form);
        if (!rc && form != OUTPUT_COLOUR)
            rc = usage_error(&verb_match, "--anaglyph: %s must end in .png; JPEG would mix the eyes' colours",
                             show_path(anaglyph));
        if (rc) return rc;
        add_output(job, anaglyph, OUTPUT_ANAGLYPH);
    }
    if (arena_failed(arena)) return ERR_MEMORY;
    const char *inputs[] = {job->left, job->right};
    for (int i = 0; i < job->output_count; i++) {
        const char *path = job->outputs[i].path;
        int rc = in_missing_folder(work->o, path)
                     ? 0
                     : output_check(path, work->o->overwrite ? OUT_OVERWRITE : OUT_NEW, inputs, job->right ? 2 : 1);
        if (rc) return rc;
        for (int j = 0; j < i; j++)
            if (out_same(path, job->outputs[j].path))
                return usage_error(&verb_match, "%s would be written twice", show_path(path));
    }
    return 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Paths of the files in a folder, sorted by name; hidden ones are left out. */
static int list_folder(Arena *arena, const char *folder, const char ***paths, int *count) {
    DIR *dir = opendir(folder);
    if (!dir) return fail(ERR_INPUT, "%s: cannot be opened: %s", show_path(folder), strerror(errno));
    const char **list = NULL;
    int n = 0, room = 0, rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        const char *path = arena_format(arena, "%s/%s", folder, entry->d_name);
        if (!path) rc = ERR_MEMORY;
        if (rc || match_is_folder(path)) continue;
        if (n == room) {
            room = room ? 2 * room : 64;
            const char **more = mem_grow(list, (size_t)room * sizeof *more);
            if (!more)
                rc = ERR_MEMORY;
            else
                list = more;
        }
        if (!rc) list[n++] = path;
    }
    closedir(dir);
    if (!rc && n == 0) rc = fail(ERR_INPUT, "%s: is an empty folder", show_path(folder));
    const char **kept = rc ? NULL : arena_alloc(arena, (size_t)n * sizeof *kept);
    if (!rc && !kept) rc = ERR_MEMORY;
    if (!rc) {
        qsort(list, (size_t)n, sizeof *list, by_name);
        memcpy(kept, list, (size_t)n * sizeof *kept);
        *paths = kept;
        *count = n;
    }
    mem_free(list);
    return rc;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const Output *)a)->path, ((const Output *)b)->path);
}

/* Inputs whose names differ only in their endings would leave one output. All are FOLDER/NAME_something here. */
static int check_jobs(const Work *work) {
    const int each = work->jobs[0].output_count;
    Output *all = mem_array((size_t)work->count * (size_t)each, sizeof *all);
    if (!all) return ERR_MEMORY;
    int n = 0, rc = 0;
    for (int i = 0; i < work->count; i++)
        for (int k = 0; k < each; k++) all[n++] = work->jobs[i].outputs[k];
    qsort(all, (size_t)n, sizeof *all, by_path);
    for (int i = 1; !rc && i < n; i++)
        if (strcmp(all[i - 1].path, all[i].path) == 0)
            rc = usage_error(&verb_match, "%s would be written twice, for two pictures of one name; rename one",
                             show_path(all[i].path));
    mem_free(all);
    return rc;
}

int match_plan(Work *work, const Parsed *parsed) {
    const char *a = parsed->operands[0], *b = parsed->operand_count > 1 ? parsed->operands[1] : NULL;
    const char **lefts = &a, **rights = b ? &b : NULL;
    int count = 1, right_count = 1, rc = 0;
    bool many = match_is_folder(a);
    if (b && match_is_folder(b) != many)
        return fail(ERR_INPUT, "%s is a folder and %s is not; give two pictures or two folders",
                    show_path(many ? a : b), show_path(many ? b : a));
    if (many) rc = list_folder(work->arena, a, &lefts, &count);
    if (!rc && many && b) rc = list_folder(work->arena, b, &rights, &right_count);
    if (!rc && b && count != right_count)
        rc = fail(ERR_INPUT, "%s holds %d files and %s %d; every left picture needs its right one", show_path(a), count,
                  show_path(b), right_count);
    if (rc) return rc;
    work->jobs = arena_alloc(work->arena, (size_t)count * sizeof *work->jobs);
    if (!work->jobs) return ERR_MEMORY;
    work->count = count;
    for (int i = 0; !rc && i < count; i++) {
        work->jobs[i] = (Job){.left = lefts[i], .right = rights ? rights[i] : NULL};
        rc = plan_outputs(work, &work->jobs[i], many);
    }
    if (!rc && many) rc = check_jobs(work);
    return rc;
}
