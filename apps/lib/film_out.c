#include "apps/lib/film_out.h"
#include "apps/lib/outputs.h"
#include "apps/lib/run.h"
#include "base/mem.h"
#include "data/png.h"
#include "data/y4m.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct FilmOut {
    FilmOutOptions options;
    int64_t done; /* frames finished, of this run and those before */
    Out *stream;  /* y4m on standard output */
};

static bool there(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static void map_name(char path[PATH_MAX], const FilmOutOptions *o, int64_t number) {
    size_t n = strlen(o->folder);
    snprintf(path, PATH_MAX, "%s%sframe_%06lld.npz", o->folder, n && o->folder[n - 1] == '/' ? "" : "/",
             (long long)number);
}

static void picture_name(char path[PATH_MAX], const FilmOutOptions *o, int64_t index) {
    snprintf(path, PATH_MAX, "%s/frame_%09lld.png", o->work, (long long)index);
}

/* Parts are MP4 files whatever becomes of them: its time stamps are exact for any rate, Matroska's are milliseconds. */
static void part_name(char path[PATH_MAX], const FilmOutOptions *o, VideoForm form, int64_t part) {
    snprintf(path, PATH_MAX, "%s/part_%s_%06lld.mp4", o->work, form == VIDEO_MP4 ? "420" : "444", (long long)part);
}

static bool wants(const FilmOutOptions *o, VideoForm form) {
    VideoForm f;
    for (int i = 0; i < o->video_count; i++)
        if (video_form(o->videos[i], &f) && f == form) return true;
    return false;
}

static bool has_part(const FilmOutOptions *o, int64_t part) {
    char path[PATH_MAX];
    for (VideoForm form = VIDEO_MKV; form <= VIDEO_MP4; form++) {
        if (!wants(o, form)) continue;
        part_name(path, o, form, part);
        if (!there(path)) return false;
    }
    return true;
}

int64_t film_out_found(const FilmOutOptions *o, const int64_t *numbers, int64_t count) {
    char path[PATH_MAX];
    int64_t found = 0;
    for (; found < count; found++) {
        if (o->folder) {
            map_name(path, o, numbers[found]);
            if (!there(path)) break;
        }
        if (!o->video_count) continue;
        if (has_part(o, found / PART_FRAMES)) continue;
        picture_name(path, o, found);
        if (!there(path)) break;
    }
    return found;
}

int film_out_open(const FilmOutOptions *options, int64_t done, FilmOut **result) {
    *result = NULL;
    FilmOut *out = mem_zero(1, sizeof *out);
    if (!out) return ERR_MEMORY;
    out->options = *options;
    out->done = done;
    int rc = 0;
    if (options->to_stream) rc = out_open("-", OUT_OVERWRITE, &out->stream);
    if (rc)
        mem_free(out);
    else
        *result = out;
    return rc;
}

void film_out_close(FilmOut **out) {
    if (!*out) return;
    out_abort(&(*out)->stream);
    mem_free(*out);
    *out = NULL;
}

/* ---- frames --------------------------------------------------------------------------------------------------------
 */

static int paint(const FilmOut *out, const StereoMaps *maps, Image *picture) {
    ColourOptions how = {.range = out->options.range, .palette = out->options.palette, .occlusion = &maps->occlusion};
    return colour_map(picture, &maps->disparity, &how, NULL);
}

static int write_stream(FilmOut *out, const Image *picture) {
    int rc = 0;
    if (out->done == 0) rc = y4m_write_header(out->stream, picture->width, picture->height, 3, out->options.rate);
    return rc ? rc : y4m_write_frame(out->stream, picture);
}

static int write_picture(const FilmOut *out, const Image *picture) {
    char path[PATH_MAX];
    Out *file;
    picture_name(path, &out->options, out->done);
    int rc = out_open(path, OUT_OVERWRITE, &file);
    if (rc) return rc;
    rc = png_write(file, picture, NULL, 0);
    if (!rc) return out_commit(&file);
    out_abort(&file);
    return rc;
}

/* One part in one form from the pictures that wait for it. */
static int code_form(const FilmOutOptions *o, VideoForm form, int64_t part, int64_t count) {
    char path[PATH_MAX], partial[PATH_MAX], final[PATH_MAX];
    VideoWriter *writer = NULL;
    Image picture = {0};
    int rc = 0;
    snprintf(partial, sizeof partial, "%.3900s/part_unfinished.mp4", o->work);
    for (int64_t i = 0; !rc && i < count; i++) {
        picture_name(path, o, part * PART_FRAMES + i);
        rc = image_read(path, NULL, &picture, NULL);
        if (!rc && !writer) rc = video_create(partial, form, picture.width, picture.height, o->rate, &o->run, &writer);
        if (!rc) rc = video_write(writer, &picture);
        image_free(&picture);
    }
    if (!rc)
        rc = video_finish(&writer);
    else
        video_abandon(&writer);
    part_name(final, o, form, part);
    if (!rc && rename(partial, final) != 0)
        rc = fail(ERR_FAILED, "%s: cannot be named: %s", show_path(final), strerror(errno));
    return rc;
}

/* The pictures go when all forms of their part are there. */
static int code_part(const FilmOutOptions *o, int64_t part, int64_t count) {
    char path[PATH_MAX];
    int rc = 0;
    for (VideoForm form = VIDEO_MKV; !rc && form <= VIDEO_MP4; form++) {
        if (!wants(o, form)) continue;
        part_name(path, o, form, part);
        if (!there(path)) rc = code_form(o, form, part, count);
    }
    for (int64_t i = 0; !rc && i < count; i++) {
        picture_name(path, o, part * PART_FRAMES + i);
        unlink(path);
    }
    return rc;
}

int film_out_frame(FilmOut *out, int64_t number, const StereoMaps *maps) {
    const FilmOutOptions *o = &out->options;
    char path[PATH_MAX];
    int rc = 0;
    if (o->video_count || o->to_stream) {
        Image picture = {0};
        rc = paint(out, maps, &picture);
        if (!rc) rc = o->to_stream ? write_stream(out, &picture) : write_picture(out, &picture);
        image_free(&picture);
    }
    if (!rc && o->folder) {
        map_name(path, o, number);
        Output map = {path, OUTPUT_NPZ};
        OutputContent content = {.maps = maps, .source = o->source, .frame = &number, .meta = o->meta};
        /* what stood there before the film began was refused then, or may be replaced */
        rc = outputs_write(&map, 1, OUT_OVERWRITE, &content);
    }
    if (!rc) out->done++;
    if (!rc && o->video_count && out->done % PART_FRAMES == 0)
        rc = code_part(o, out->done / PART_FRAMES - 1, PART_FRAMES);
    return rc;
}

/* ---- the end -------------------------------------------------------------------------------------------------------
 */

static int write_list(const char *path, VideoForm form, int64_t parts) {
    Out *list;
    int rc = out_open(path, OUT_OVERWRITE, &list);
    if (rc) return rc;
    /* ffmpeg takes names in a list from the list's own folder */
    for (int64_t i = 0; !rc && i < parts; i++)
        rc = out_print(list, "file 'part_%s_%06lld.mp4'\n", form == VIDEO_MP4 ? "420" : "444", (long long)i);
    if (!rc) return out_commit(&list);
    out_abort(&list);
    return rc;
}

static int sync_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), bad = fd < 0 || fsync(fd) != 0;
    int e = errno;
    if (fd >= 0) close(fd);
    return bad ? fail(e == ENOSPC || e == EDQUOT ? ERR_MEMORY : ERR_FAILED, "%s: cannot be written to the disk: %s",
                      show_path(path), strerror(e))
               : 0;
}

static int join(const FilmOut *out, int64_t parts, const char *final) {
    const FilmOutOptions *o = &out->options;
    char whole[PATH_MAX], title[300], folder[PATH_MAX], list[PATH_MAX];
    VideoForm form;
    int64_t frames = 0;
    video_form(final, &form);
    snprintf(list, sizeof list, "%.3900s/parts.txt", o->work);
    snprintf(whole, sizeof whole, "%.3900s/whole.%s", o->work, form == VIDEO_MP4 ? "mp4" : "mkv");
    snprintf(title, sizeof title,
             "colour map of disparity: %s in front of the screen, blue behind, full colour at %.6g px",
             o->palette == PALETTE_RED_BLUE ? "red" : "orange", o->range);
    int rc = write_list(list, form, parts);
    if (!rc) rc = video_join(list, whole, form, o->rate, title, &o->run);
    if (!rc) rc = video_count(whole, &o->run, &frames);
    if (!rc && frames != out->done)
        rc = fail(ERR_TOOL, "%s: ffmpeg left %lld of its %lld frames; the parts are kept in %s", show_path(final),
                  (long long)frames, (long long)out->done, show_path(o->work));
    if (!rc) rc = sync_file(whole);
    if (!rc && rename(whole, final) != 0)
        rc = fail(ERR_FAILED, "%s: cannot be named: %s", show_path(final), strerror(errno));
    if (rc) return rc;
    const char *slash = strrchr(final, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - final + 1) : 1, slash ? final : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!fsync(fd); /* the name; not all file systems can */
        close(fd);
    }
    return 0;
}

int film_out_finish(FilmOut *out) {
    const FilmOutOptions *o = &out->options;
    int rc = 0;
    if (o->to_stream) return out_commit(&out->stream);
    if (!o->video_count || !out->done) return 0;
    /* all parts, those too that a kill between a frame and its part left behind */
    int64_t parts = (out->done + PART_FRAMES - 1) / PART_FRAMES;
    for (int64_t i = 0; !rc && i < parts; i++) {
        int64_t left = out->done - i * PART_FRAMES;
        if (!has_part(o, i)) rc = code_part(o, i, left < PART_FRAMES ? left : PART_FRAMES);
    }
    for (int i = 0; !rc && i < o->video_count; i++) rc = join(out, parts, o->videos[i]);
    return rc;
}
