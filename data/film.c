#include "data/film.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/film_stream.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

struct Film {
    FilmOptions options;
    FilmFacts facts;
    Stream *eyes[2]; /* the second is NULL when the first holds both */
    Image samples[FILM_SAMPLES][2];
    int64_t sample_index[FILM_SAMPLES];
    int sample_count;
    int64_t limit; /* frames to give at most, INT64_MAX: all */
    int64_t given; /* number in what is given, of the next frame read */
    Image pending[2];
    int64_t pending_number;
    bool has_pending, ended;
    int failure; /* met while reading ahead of a frame that was still good; its sentence: */
    char why[1024];
    bool broke_off;
    char note[1024];
};

/* ---- what is a film? ------------------------------------------------------------------------------------------------
 */

static bool is_folder(const char *path, const char *inside) {
    char name[4096 + 64];
    struct stat st;
    snprintf(name, sizeof name, "%s%s%s", path, inside ? "/" : "", inside ? inside : "");
    return stat(name, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool starts(const uint8_t *bytes, size_t size, size_t at, const char *text, size_t length) {
    return size >= at + length && memcmp(bytes + at, text, length) == 0;
}

/* First bytes of what ffmpeg reads and we care for; what has none (raw streams) is told by its name. */
static bool looks_like_video(const uint8_t *b, size_t n, const char *path) {
    static const struct {
        size_t at, length;
        const char *text;
    } marks[] = {
        {0, 9, "YUV4MPEG2"},
        {0, 4, "\x1a\x45\xdf\xa3"},
        {4, 4, "ftyp"},
        {4, 4, "moov"},
        {4, 4, "mdat"},
        {4, 4, "wide"},
        {4, 4, "free"},
        {8, 4, "AVI "},
        {0, 4, "OggS"},
        {0, 3, "FLV"},
        {0, 4, "\x30\x26\xb2\x75"},
        {0, 4, "\0\0\1\xba"},
        {0, 4, "\0\0\1\xb3"},
        {0, 4, "\x06\x0e\x2b\x34"},
        {0, 4, "DKIF"},
    };
    static const char *const endings[] = {".mkv",  ".webm", ".mp4", ".m4v",  ".mov", ".avi", ".ts",
                                          ".m2ts", ".mts",  ".mpg", ".wmv",  ".flv", ".ogv", ".mxf",
                                          ".h264", ".264",  ".265", ".hevc", ".y4m"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (starts(b, n, marks[i].at, marks[i].text, marks[i].length)) return true;
    if (n > 188 && b[0] == 0x47 && b[188] == 0x47) return true; /* transport stream */
    if (n > 196 && b[4] == 0x47 && b[196] == 0x47) return true; /* the same of a Blu-ray disc */
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t e = strlen(endings[i]);
        if (length > e && strcasecmp(path + length - e, endings[i]) == 0) return true;
    }
    return false;
}

static bool tail_side(const char *name, const char *const tails[2]) {
    const char *dot = strrchr(name, '.');
    size_t stem = dot ? (size_t)(dot - name) : strlen(name);
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(tails[i]);
        if (stem > n && memcmp(name + stem - n, tails[i], n) == 0) return true;
    }
    return false;
}

static const char *const tails[2][2] = {{"_left", "_right"}, {"_l", "_r"}};

/* Which pair of tails all names of a folder have, NULL for none. */
static const char *const *folder_tails(const char *path) {
    DIR *dir = opendir(path);
    int64_t files = 0;
    bool has[2] = {true, true};
    if (!dir) return NULL;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (name[0] == '.' || is_folder(path, name)) continue;
        for (int i = 0; i < 2; i++) has[i] = has[i] && tail_side(name, tails[i]);
        files++;
    }
    closedir(dir);
    return !files ? NULL : has[0] ? tails[0] : has[1] ? tails[1] : NULL;
}

bool film_is(const char *path) {
    struct stat st;
    if (strcmp(path, "-") == 0) return true;
    if (stat(path, &st) != 0) return false;
    if (S_ISFIFO(st.st_mode)) return true;
    if (S_ISDIR(st.st_mode)) return (is_folder(path, "left") && is_folder(path, "right")) || folder_tails(path);
    if (!S_ISREG(st.st_mode)) return false;
    uint8_t head[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    ContentKind kind = n > 0 ? content_kind(head, (size_t)n) : CONTENT_UNKNOWN;
    return kind == CONTENT_UNKNOWN && looks_like_video(head, n > 0 ? (size_t)n : 0, path);
}

bool film_time_parse(const char *text, FilmTime *time) {
    double parts[3] = {0};
    int count = 0;
    const char *at = text;
    *time = (FilmTime){.given = true};
    for (;;) {
        if (!(*at >= '0' && *at <= '9')) return false;
        size_t digits = strspn(at, "0123456789"), whole = digits;
        if (at[digits] == '.') {
            size_t more = strspn(at + digits + 1, "0123456789");
            if (!more) return false;
            digits += 1 + more;
        }
        if (digits > 15 || count == 3) return false;
        char number[24];
        snprintf(number, sizeof number, "%.*s", (int)digits, at);
        /* by hand: strtod follows the locale's decimal point */
        double v = 0, unit = 1;
        for (size_t i = 0; i < digits; i++) {
            if (number[i] == '.') continue;
            if (i < whole)
                v = 10 * v + (number[i] - '0');
            else
                v += (number[i] - '0') * (unit /= 10);
        }
        parts[count++] = v;
        at += digits;
        if (*at == 0) break;
        if (*at == 'f' && at[1] == 0 && count == 1 && whole == digits) {
            time->frames = true;
            time->value = v;
            return true;
        }
        if (*at != ':' || whole != digits) return false;
        at++;
    }
    for (int i = 1; i < count; i++)
        if (parts[i] >= 60) return false;
    for (int i = 0; i < count; i++) time->value = time->value * 60 + parts[i];
    return true;
}

/* ---- opening --------------------------------------------------------------------------------------------------------
 */

static int open_eye(Film *film, int eye, const char *path, const char *tail) {
    Stream *s = mem_zero(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    int rc = tail ? stream_open_files(s, path, tail, &film->options) : stream_open(s, path, &film->options);
    if (rc)
        mem_free(s);
    else
        film->eyes[eye] = s;
    return rc;
}

static int open_eyes(Film *film) {
    const FilmOptions *o = &film->options;
    char inside[4096 + 16];
    if (o->right) {
        int rc = open_eye(film, 0, o->left, NULL);
        return rc ? rc : open_eye(film, 1, o->right, NULL);
    }
    if (is_folder(o->left, "left") && is_folder(o->left, "right")) {
        snprintf(inside, sizeof inside, "%s/left", o->left);
        int rc = open_eye(film, 0, inside, NULL);
        snprintf(inside, sizeof inside, "%s/right", o->left);
        return rc ? rc : open_eye(film, 1, inside, NULL);
    }
    const char *const *pair = is_folder(o->left, NULL) ? folder_tails(o->left) : NULL;
    int rc = open_eye(film, 0, o->left, pair ? pair[0] : NULL);
    return rc || !pair ? rc : open_eye(film, 1, o->left, pair[1]);
}

static int check_in_step(const Stream *l, const Stream *r) {
    if (l->width != r->width || l->height != r->height)
        return fail(ERR_INPUT, "%s has %d x %d pixels and %s %d x %d; both eyes must be of one size", l->name, l->width,
                    l->height, r->name, r->width, r->height);
    if (l->kind == STREAM_FILES && r->kind == STREAM_FILES && l->frames != r->frames)
        return fail(ERR_INPUT, "%s holds %lld left pictures and %s %lld right ones; every frame needs both", l->name,
                    (long long)l->frames, r->name, (long long)r->frames);
    if (l->rate.under && r->rate.under && !rate_equal(l->rate, r->rate))
        return fail(ERR_INPUT, "%s has %.5g frames a second and %s %.5g; they cannot run in step", l->name,
                    rate_value(l->rate), r->name, rate_value(r->rate));
    return 0;
}

/* The first frame at or after a time. */
static int to_frame(const Film *film, FilmTime time, const char *what, int64_t *frame) {
    double rate = rate_value(film->facts.rate);
    if (!time.frames && rate == 0)
        return fail(ERR_USAGE, "--%s: %s does not say how many frames a second has; count in frames, as 240f", what,
                    film->eyes[0]->name);
    *frame = (int64_t)ceil(time.frames ? time.value : time.value * rate - 1e-6);
    return 0;
}

static int select_frames(Film *film) {
    const FilmOptions *o = &film->options;
    FilmFacts *f = &film->facts;
    const Stream *l = film->eyes[0], *r = film->eyes[1];
    int64_t all = l->frames, stop = INT64_MAX, step = o->every > 1 ? o->every : 1;
    f->counted = l->counted && (!r || r->counted);
    if (r && r->frames < all) all = r->frames;
    if (o->start.given) {
        int rc = to_frame(film, o->start, "start", &f->first);
        if (rc) return rc;
    }
    if (o->end.given) {
        int rc = to_frame(film, o->end, "end", &stop);
        if (rc) return rc;
        if (stop <= f->first) return fail(ERR_USAGE, "--end lies not behind --start: there is no frame between them");
    }
    if (all && f->first >= all)
        return fail(ERR_USAGE, "--start: %s has %s%lld frames and ends before frame %lld", l->name,
                    f->counted ? "" : "about ", (long long)all, (long long)f->first);
    if (all && stop > all) stop = all;
    int64_t room = stop == INT64_MAX ? 0 : (stop - f->first + step - 1) / step;
    f->frames = o->frames && (!room || o->frames < room) ? o->frames : room;
    /* A length that is only estimated ends nothing; an --end or a number of frames does. */
    film->limit = INT64_MAX;
    if (o->end.given) {
        int64_t asked = 0;
        int rc = to_frame(film, o->end, "end", &asked);
        if (rc) return rc;
        film->limit = (asked - f->first + step - 1) / step;
    }
    if (o->frames && o->frames < film->limit) film->limit = o->frames;
    return 0;
}

/* ---- samples and layout ---------------------------------------------------------------------------------------------
 */

static int take_samples(Film *film) {
    FilmFacts *f = &film->facts;
    int64_t step = film->options.every > 1 ? film->options.every : 1;
    int eyes = film->eyes[1] ? 2 : 1, rc = 0;
    bool seeks = true;
    for (int e = 0; e < eyes; e++) seeks = seeks && stream_seeks(film->eyes[e]);
    if (seeks) {
        int64_t count = f->frames < FILM_SAMPLES ? f->frames : FILM_SAMPLES;
        /* one sample for every eight frames: looking at a film must not cost more than a little of matching it */
        if (count > 1 + f->frames / 8) count = 1 + f->frames / 8;
        for (int64_t i = 0; !rc && i < count; i++) {
            int64_t k = (2 * i + 1) * f->frames / (2 * count), index = f->first + k * step;
            for (int e = 0; !rc && e < eyes; e++)
                rc = stream_picture(film->eyes[e], index, &film->samples[film->sample_count][e]);
            film->sample_index[film->sample_count] = index;
            if (!rc)
                film->sample_count++;
            else if (rc == ERR_INPUT) /* a length that was estimated too long, or damage further on */
                break;
        }
        for (int e = 0; rc == ERR_INPUT && !film->sample_count && e < eyes; e++) {
            rc = stream_picture(film->eyes[e], f->first, &film->samples[0][e]);
            film->sample_index[0] = f->first;
            if (!rc && e == eyes - 1) film->sample_count = 1;
        }
        return film->sample_count && rc == ERR_INPUT ? 0 : rc;
    }
    for (int e = 0; !rc && e < eyes; e++) {
        Stream *s = film->eyes[e];
        if (s->kind == STREAM_Y4M) rc = stream_look_ahead(s, f->first, step, FILM_SAMPLES);
    }
    if (rc) return rc;
    if (film->eyes[0]->kind != STREAM_Y4M) { /* a video that does not say how long it is */
        for (int e = 0; !rc && e < eyes; e++) rc = stream_picture(film->eyes[e], f->first, &film->samples[0][e]);
        film->sample_count = rc ? 0 : 1;
        return rc;
    }
    int have = film->eyes[0]->ahead_count;
    if (eyes == 2 && film->eyes[1]->ahead_count < have) have = film->eyes[1]->ahead_count;
    if (!have) return fail(ERR_INPUT, "%s: has no frame %lld", film->eyes[0]->name, (long long)f->first);
    for (int k = 0; !rc && k < have && film->sample_count < FILM_SAMPLES; k++) {
        /* flat ones only when there is nothing else */
        if (picture_is_flat(&film->eyes[0]->ahead[k]) && have - k > FILM_SAMPLES - film->sample_count) continue;
        for (int e = 0; !rc && e < eyes; e++)
            rc = image_copy(&film->samples[film->sample_count][e], &film->eyes[e]->ahead[k]);
        film->sample_index[film->sample_count] = film->eyes[0]->ahead_index[k];
        if (!rc) film->sample_count++;
    }
    return rc;
}

/* What most samples say by their content alone; votes counts those that agree, of `seen` that say anything. */
static int vote(Film *film, LayoutDecision *winner, int *votes, int *seen) {
    LayoutDecision all[FILM_SAMPLES];
    *votes = *seen = 0;
    for (int i = 0; i < film->sample_count; i++) {
        const Image *frame = &film->samples[i][0];
        if (picture_is_flat(frame)) continue;
        int rc = layout_decide(NULL, frame->width, frame->height, frame, NULL, &all[*seen]);
        if (rc) return rc;
        (*seen)++;
    }
    for (int i = 0; i < *seen; i++) {
        int same = 0;
        for (int k = 0; k < *seen; k++) same += all[k].layout == all[i].layout;
        if (same > *votes) {
            *votes = same;
            *winner = all[i];
        }
    }
    return 0;
}

/* Side by side, top and bottom, or anything else. */
static int direction(StereoLayout layout) {
    return layout == LAYOUT_SBS || layout == LAYOUT_HSBS ? 1
           : layout == LAYOUT_TB || layout == LAYOUT_HTB ? 2
                                                         : 3 + (int)layout;
}

static int decide_layout(Film *film) {
    FilmFacts *f = &film->facts;
    const FilmOptions *o = &film->options;
    const VideoFacts *video = film->eyes[0]->kind == STREAM_VIDEO ? &film->eyes[0]->facts : NULL;
    LayoutDecision *d = &f->decision, content = {0};
    int votes = 0, seen = 0, w = f->frame_width, h = f->frame_height;
    if (film->eyes[1]) {
        *d = (LayoutDecision){.layout = LAYOUT_PAIR, .right_first = o->swap_eyes};
        snprintf(d->evidence, sizeof d->evidence, "two %s",
                 film->eyes[0]->kind == STREAM_FILES ? "series of pictures" : "films");
        if (o->layout != LAYOUT_AUTO && o->layout != LAYOUT_PAIR)
            return fail(ERR_USAGE, "--layout %s is for one film with both eyes, and these are two",
                        layout_name(o->layout));
        return 0;
    }
    StereoOptions how = {.layout = o->layout, .swap_eyes = o->swap_eyes};
    StereoLayout tag = video ? video->tag : LAYOUT_AUTO;
    const Image *frame = NULL;
    for (int i = 0; i < film->sample_count && !frame; i++)
        if (!picture_is_flat(&film->samples[i][0])) frame = &film->samples[i][0];
    if (tag != LAYOUT_AUTO) { /* no tag says whether its halves are full pictures or squeezed ones */
        how.tag = tag == LAYOUT_SBS || tag == LAYOUT_TB ? layout_by_shape(tag == LAYOUT_TB, w, h, frame) : tag;
        how.tag_right_first = video->tag_right_first;
        how.tag_source = video->tag_source;
    }
    const char *path = strcmp(o->left, "-") == 0 ? NULL : o->left;
    int rc = layout_decide(path, w, h, frame, &how, d);
    if (rc) return rc;
    bool asked = o->layout != LAYOUT_AUTO, by_tag = !asked && tag != LAYOUT_AUTO,
         by_name = !asked && !by_tag &&
                   (strncmp(d->evidence, "file name", 9) == 0 || strncmp(d->evidence, "folder name", 11) == 0),
         by_content = !asked && !by_tag && !by_name;
    if (by_tag || by_content) rc = vote(film, &content, &votes, &seen);
    if (rc) return rc;
    bool clear = votes * 2 > seen && content.layout != LAYOUT_MONO;
    if (by_tag && clear && seen >= 2 && direction(content.layout) != direction(d->layout)) {
        snprintf(f->contradiction, sizeof f->contradiction,
                 "%s, but %d of %d frames are %s by their content, which is believed; --layout settles it",
                 video->tag_source, votes, seen, layout_words(content.layout));
        by_content = true;
    }
    if (by_content && clear) {
        *d = content;
        d->right_first = o->swap_eyes; /* which way they lie was seen, which eye is which was not */
        snprintf(d->evidence, sizeof d->evidence, "content of %d of %d frame%s, and shape", votes, seen,
                 seen == 1 ? "" : "s");
    } else if (by_content) {
        rc = layout_decide(NULL, w, h, NULL, &how, d);
        if (rc) return rc;
        if (d->layout == LAYOUT_MONO)
            snprintf(d->evidence, sizeof d->evidence, "in %d frame%s its halves do not match each other",
                     film->sample_count, film->sample_count == 1 ? "" : "s");
    } else if (by_tag && clear) {
        size_t n = strlen(d->evidence);
        snprintf(d->evidence + n, sizeof d->evidence - n, "; content of %d of %d frame%s agrees", votes, seen,
                 seen == 1 ? "" : "s");
    }
    if (d->layout == LAYOUT_PAIR || d->layout == LAYOUT_MPO)
        return fail(ERR_USAGE, "--layout %s is not for one film", layout_name(d->layout));
    if (d->layout == LAYOUT_MONO && o->mono_too) return 0;
    if (d->layout == LAYOUT_MONO)
        return fail(ERR_INPUT, "%s: holds one eye only (%s); give the other eye's film as well, or say --layout",
                    film->eyes[0]->name, d->evidence);
    rc = layout_check(d, w, h);
    return rc ? fail_prefix("%s", film->eyes[0]->name) : 0;
}

static void describe(Film *film) {
    FilmFacts *f = &film->facts;
    const Stream *s = film->eyes[0];
    for (int e = 0; e < 2 && film->eyes[e] && !*f->cut; e++)
        if (film->eyes[e]->kind == STREAM_VIDEO) video_describe_cut(&film->eyes[e]->facts, f->cut, sizeof f->cut);
    if (s->kind == STREAM_VIDEO) {
        video_describe(&s->facts, f->what, sizeof f->what);
    } else if (s->kind == STREAM_Y4M) {
        const Y4mHeader *h = y4m_header(s->y4m);
        char rate[40] = "rate not said, 24 fps taken";
        if (h->rate.under) snprintf(rate, sizeof rate, "%.5g fps", rate_value(h->rate));
        snprintf(f->what, sizeof f->what, "y4m stream %dx%d, %s, %d-bit %s%s", h->width, h->height, rate, h->bits,
                 h->colour, h->full_range ? ", full range" : "");
    } else {
        snprintf(f->what, sizeof f->what, "folder of %lld %dx%d pictures, %s%.5g fps", (long long)s->frames, s->width,
                 s->height, f->rate_assumed ? "taken as " : "", rate_value(f->rate));
    }
}

static int identify(Film *film) {
    Sha256 hash;
    char hex[65];
    uint8_t digest[32];
    sha256_begin(&hash);
    for (int e = 0; e < 2 && film->eyes[e]; e++) {
        int rc = stream_identity(film->eyes[e], hex);
        if (rc) return rc;
        sha256_add(&hash, hex, 64);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, film->facts.identity);
    return 0;
}

int film_open(const FilmOptions *options, Film **result) {
    *result = NULL;
    Film *film = mem_zero(1, sizeof *film);
    if (!film) return ERR_MEMORY;
    film->options = *options;
    FilmFacts *f = &film->facts;
    int rc = open_eyes(film);
    if (!rc && film->eyes[1]) rc = check_in_step(film->eyes[0], film->eyes[1]);
    if (!rc) {
        const Stream *s = film->eyes[0];
        f->frame_width = s->width;
        f->frame_height = s->height;
        f->rate = s->rate;
        f->variable = s->variable;
        f->rate_assumed = !s->rate.under || (s->kind == STREAM_FILES && !options->rate.under);
        rc = select_frames(film);
        if (!f->rate.under) f->rate = (Rate){24, 1};
    }
    if (!rc) rc = take_samples(film);
    if (!rc) rc = decide_layout(film);
    if (!rc) {
        layout_eye_size(&f->decision, f->frame_width, f->frame_height, &f->width, &f->height);
        describe(film);
        rc = identify(film);
    }
    if (rc)
        film_close(&film);
    else
        *result = film;
    return rc;
}

const FilmFacts *film_facts(const Film *film) {
    return &film->facts;
}

const VideoFacts *film_video(const Film *film) {
    return film->eyes[0]->kind == STREAM_VIDEO ? &film->eyes[0]->facts : NULL;
}

bool film_of_files(const Film *film) {
    return film->eyes[0]->kind == STREAM_FILES;
}

/* The eyes of a frame as stored; takes `stored` away from its owner where it can. */
static int take_eyes(const Film *film, Image stored[2], Image *left, Image *right) {
    const LayoutDecision *d = &film->facts.decision;
    *left = *right = (Image){0};
    if (film->eyes[1]) {
        *left = stored[d->right_first];
        *right = stored[!d->right_first];
        stored[0] = stored[1] = (Image){0};
        return 0;
    }
    return layout_split(&stored[0], d, left, right);
}

int film_sample_count(const Film *film) {
    return film->sample_count;
}

int film_sample(Film *film, int index, Image *left, Image *right) {
    Image copy[2] = {{0}, {0}};
    int rc = image_copy(&copy[0], &film->samples[index][0]);
    if (!rc && film->eyes[1]) rc = image_copy(&copy[1], &film->samples[index][1]);
    if (!rc) rc = take_eyes(film, copy, left, right);
    image_free(&copy[0]);
    image_free(&copy[1]);
    return rc;
}

void film_samples_drop(Film *film) {
    for (int i = 0; i < FILM_SAMPLES; i++)
        for (int e = 0; e < 2; e++) image_free(&film->samples[i][e]);
    film->sample_count = 0;
}

const double FILM_VERTICAL_TRUST = 0.4; /* half of the blocks that were found lie within 3 rows of each other */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int film_measure(Film *film, FilmEyes *eyes) {
    double offsets[FILM_SAMPLES], order = 0;
    int found = 0, voted = 0, identical = 0;
    memset(eyes, 0, sizeof *eyes);
    for (int i = 0; i < film->sample_count; i++) {
        Image left, right;
        StereoMeasure m;
        int rc = film_sample(film, i, &left, &right);
        if (rc) return rc;
        rc = stereo_measure(&left, &right, &m);
        image_free(&left);
        image_free(&right);
        if (rc) return rc;
        identical += m.identical;
        if (m.vertical_confidence >= FILM_VERTICAL_TRUST) offsets[found++] = m.vertical;
        eyes->d_low = fmin(eyes->d_low, m.d_low);
        eyes->d_high = fmax(eyes->d_high, m.d_high);
        if (m.identical || !m.textured) continue;
        order += m.eye_order;
        voted++;
    }
    qsort(offsets, (size_t)found, sizeof *offsets, by_value);
    eyes->has_vertical = 2 * found > film->sample_count;
    if (found) eyes->vertical = offsets[found / 2];
    eyes->has_order = voted > 0;
    if (voted) eyes->eye_order = order / voted;
    eyes->identical = film->sample_count && identical == film->sample_count;
    return 0;
}

/* ---- giving frames --------------------------------------------------------------------------------------------------
 */

/* The film breaks off, and the sentence of that is set: a failure, or when lenient the end with a note. */
static int break_off(Film *film) {
    film->broke_off = true;
    if (!film->options.read.lenient || !film->given) return ERR_INPUT;
    film->ended = true;
    snprintf(film->note, sizeof film->note, "%s; taken as far as it goes", err_sentence());
    return 0;
}

/* ffmpeg came to the end of a film and sees nothing wrong in that, whatever it met on the way. A film is broken when
 * its file is shorter than it should be, or when ffmpeg complains and frames are missing. A complaint alone may be
 * about nothing; a promise alone was often only meant (edit lists, empty chunks, sound that goes on). */
static int judge_end(Film *film, const Stream *s) {
    if (s->kind != STREAM_VIDEO) return 0;
    const VideoFacts *v = &s->facts;
    const FilmFacts *f = &film->facts;
    const char *words = video_complaint(s->video);
    int64_t step = film->options.every > 1 ? film->options.every : 1,
            promised = v->promised > f->first ? (v->promised - f->first + step - 1) / step : 0,
            missing = promised - film->given;
    bool lost = *words && missing > 2 + promised / 200; /* durations are rounded */
    char cut[120];
    video_describe_cut(v, cut, sizeof cut);
    if (*cut) {
        char of[60] = "";
        if (missing > 0) snprintf(of, sizeof of, " of about %lld", (long long)promised);
        fail(ERR_INPUT, "%s: breaks off after %lld%s frames (%s)", s->name, (long long)film->given, of, cut);
        return break_off(film);
    }
    if (lost) {
        fail(ERR_INPUT, "%s: %lld of %s%lld frames could not be read (ffmpeg: %s)", s->name, (long long)missing,
             f->counted ? "" : "about ", (long long)promised, words);
        return break_off(film);
    }
    if (*words)
        snprintf(film->note, sizeof film->note, "%s: some frames may be damaged (ffmpeg: %s)", s->name, words);
    else if (f->counted && f->frames && film->given < f->frames)
        snprintf(film->note, sizeof film->note, "%s: its header promised %lld frames, and %lld came", s->name,
                 (long long)f->frames, (long long)film->given);
    return 0;
}

/* Reads the next frame into `pending`. */
static int read_ahead(Film *film) {
    film->has_pending = false;
    if (film->ended || film->given >= film->limit) return 0;
    bool ends[2] = {false, false};
    for (int e = 0; e < 2 && film->eyes[e]; e++) {
        int rc = stream_next(film->eyes[e], &film->pending[e], &ends[e]);
        if (rc && stream_broke_off(film->eyes[e])) return break_off(film);
        if (rc) return rc;
    }
    film->ended = ends[0] || ends[1];
    if (film->ended) {
        for (int e = 0; e < 2; e++) {
            int rc = ends[e] ? judge_end(film, film->eyes[e]) : 0;
            if (rc || film->broke_off) return rc;
        }
        if (film->eyes[1] && ends[0] != ends[1])
            return fail(ERR_INPUT,
                        "%s ends after frame %lld and %s goes on; the frames before were matched, but look whether "
                        "they run in step",
                        film->eyes[ends[0] ? 0 : 1]->name, (long long)film->given - 1,
                        film->eyes[ends[0] ? 1 : 0]->name);
        return 0;
    }
    int64_t step = film->options.every > 1 ? film->options.every : 1;
    film->pending_number = film->facts.first + film->given * step;
    film->given++;
    film->has_pending = true;
    return 0;
}

int film_begin(Film *film, int64_t skip) {
    int64_t step = film->options.every > 1 ? film->options.every : 1;
    for (int e = 0; e < 2 && film->eyes[e]; e++) {
        int rc = stream_begin(film->eyes[e], film->facts.first, step, skip);
        if (rc) return rc;
    }
    film->given = skip;
    return read_ahead(film);
}

int film_next(Film *film, Image *left, Image *right, int64_t *number, bool *end) {
    *end = !film->has_pending;
    if (film->failure) return fail(film->failure, "%s", film->why);
    if (*end) return 0;
    int rc = take_eyes(film, film->pending, left, right);
    *number = film->pending_number;
    if (!rc) rc = read_ahead(film);
    /* What a decoder gave before it failed is doubtful; a whole frame of plain pictures before a broken one is not. */
    if (rc == ERR_INPUT && film->eyes[0]->kind != STREAM_VIDEO) {
        film->failure = rc;
        snprintf(film->why, sizeof film->why, "%s", err_sentence());
        rc = 0;
    }
    if (rc) {
        image_free(left);
        image_free(right);
    }
    return rc;
}

bool film_broke_off(const Film *film) {
    return film->broke_off;
}

const char *film_note(const Film *film) {
    return film->note;
}

void film_close(Film **film) {
    if (!*film) return;
    for (int e = 0; e < 2; e++) {
        if ((*film)->eyes[e]) stream_close((*film)->eyes[e]);
        mem_free((*film)->eyes[e]);
        image_free(&(*film)->pending[e]);
    }
    film_samples_drop(*film);
    mem_free(*film);
    *film = NULL;
}
