#include "data/film_stream.h"
#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- y4m -----------------------------------------------------------------------------------------------------------
 */

/* Reads what there is; looks at `stopped` while there is nothing. A stream may pause as long as it likes: who feeds us
 * may be slower than we are. */
static int read_descriptor(void *context, void *bytes, size_t want, size_t *got) {
    Stream *s = context;
    for (;;) {
        struct pollfd ready = {.fd = s->fd, .events = POLLIN};
        int n = poll(&ready, 1, 200);
        if (s->run.stopped && s->run.stopped()) return fail(ERR_STOPPED, "interrupted");
        if (n < 0 && errno != EINTR) return fail(ERR_INPUT, "cannot be read: %s", strerror(errno));
        if (n <= 0) continue;
        ssize_t have = read(s->fd, bytes, want);
        if (have < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (have < 0) return fail(ERR_INPUT, "%s: cannot be read: %s", s->name, strerror(errno));
        *got = (size_t)have;
        return 0;
    }
}

static int open_y4m(Stream *s) {
    s->kind = STREAM_Y4M;
    if (strcmp(s->path, "-") == 0) {
        s->fd = 0;
        snprintf(s->name, sizeof s->name, "standard input");
    } else {
        do s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
        while (s->fd < 0 && errno == EINTR);
        if (s->fd < 0) return fail(ERR_INPUT, "%s: cannot be opened: %s", s->name, strerror(errno));
    }
    int rc = y4m_open(s->name, read_descriptor, s, &s->y4m);
    if (rc) return rc;
    const Y4mHeader *h = y4m_header(s->y4m);
    s->width = h->width;
    s->height = h->height;
    s->channels = h->chroma_x ? 3 : 1;
    s->rate = h->rate;
    return 0;
}

/* ---- files ---------------------------------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool stem_ends_in(const char *name, const char *tail) {
    const char *dot = strrchr(name, '.');
    size_t stem = dot && dot > name ? (size_t)(dot - name) : strlen(name), n = strlen(tail);
    return stem > n && memcmp(name + stem - n, tail, n) == 0;
}

int stream_open_files(Stream *s, const char *folder, const char *tail, const FilmOptions *options) {
    memset(s, 0, sizeof *s);
    *s = (Stream){.kind = STREAM_FILES, .run = options->run, .read = options->read, .fd = -1};
    snprintf(s->path, sizeof s->path, "%s", folder);
    err_printable(s->name, sizeof s->name, folder);
    DIR *dir = opendir(folder);
    if (!dir) return fail(ERR_INPUT, "%s: cannot be opened: %s", s->name, strerror(errno));
    int64_t room = 0;
    int rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || (tail && !stem_ends_in(entry->d_name, tail))) continue;
        char path[4096 + 260];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        if (s->frames == room) {
            room = room ? 2 * room : 256;
            char **more = mem_grow(s->files, (size_t)room * sizeof *more);
            if (!more)
                rc = ERR_MEMORY;
            else
                s->files = more;
        }
        if (!rc && !(s->files[s->frames] = mem_text(path))) rc = ERR_MEMORY;
        if (!rc) s->frames++;
    }
    closedir(dir);
    if (!rc && !s->frames) rc = fail(ERR_INPUT, "%s: holds no pictures", s->name);
    if (!rc) {
        qsort(s->files, (size_t)s->frames, sizeof *s->files, by_name);
        s->counted = true;
        s->rate = options->rate.under ? options->rate : (Rate){24, 1};
        Image first = {0};
        rc = image_read(s->files[0], &s->read, &first, NULL);
        if (!rc) rc = image_to_8bit(&first);
        s->width = first.width;
        s->height = first.height;
        s->channels = first.channels;
        image_free(&first);
    }
    if (rc) stream_close(s);
    return rc;
}

static int read_file(Stream *s, int64_t index, Image *picture) {
    char shown[300];
    image_free(picture);
    int rc = image_read(s->files[index], &s->read, picture, NULL);
    if (!rc && (picture->width != s->width || picture->height != s->height)) {
        rc = fail(ERR_INPUT, "%s: has %d x %d pixels, and the frames before %d x %d",
                  err_printable(shown, sizeof shown, s->files[index]), picture->width, picture->height, s->width,
                  s->height);
        image_free(picture);
    }
    if (!rc) rc = image_to_8bit(picture);
    if (!rc && s->channels == 3) rc = image_to_rgb(picture);
    return rc;
}

/* ---- all -----------------------------------------------------------------------------------------------------------
 */

int stream_open(Stream *s, const char *path, const FilmOptions *options) {
    char head[9] = "";
    struct stat st;
    memset(s, 0, sizeof *s);
    *s = (Stream){.run = options->run, .read = options->read, .fd = -1};
    if ((size_t)snprintf(s->path, sizeof s->path, "%s", path) >= sizeof s->path)
        return fail(ERR_INPUT, "the name of a film has more than 4,095 bytes");
    err_printable(s->name, sizeof s->name, path);
    int rc = 0;
    bool standard = strcmp(path, "-") == 0;
    if (!standard && stat(path, &st) != 0) return fail(ERR_INPUT, "%s: cannot be opened: %s", s->name, strerror(errno));
    if (!standard && S_ISDIR(st.st_mode)) return stream_open_files(s, path, NULL, options);
    if (!standard && S_ISREG(st.st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return fail(ERR_INPUT, "%s: cannot be opened: %s", s->name, strerror(errno));
        ssize_t n = read(fd, head, sizeof head);
        close(fd);
        if (n < 1) return fail(ERR_INPUT, "%s: is empty", s->name);
    }
    if (standard || !S_ISREG(st.st_mode) || memcmp(head, "YUV4MPEG2", sizeof head) == 0) {
        rc = open_y4m(s);
    } else {
        s->kind = STREAM_VIDEO;
        rc = video_check(&s->run);
        if (!rc) rc = video_facts(path, &s->run, &s->facts);
        s->width = s->facts.width;
        s->height = s->facts.height;
        s->channels = 3;
        s->rate = s->facts.rate;
        s->variable = s->facts.variable;
        s->frames = s->facts.frames;
        s->counted = s->facts.frames_counted;
    }
    if (rc) stream_close(s);
    return rc;
}

void stream_close(Stream *s) {
    video_close(&s->video);
    y4m_close(&s->y4m);
    if (s->fd > 0) close(s->fd);
    s->fd = -1;
    for (int64_t i = 0; s->files && i < s->frames; i++) mem_free(s->files[i]);
    mem_free(s->files);
    s->files = NULL;
    for (int i = 0; i < AHEAD_MAX; i++) image_free(&s->ahead[i]);
}

bool stream_seeks(const Stream *s) {
    return s->kind == STREAM_FILES || (s->kind == STREAM_VIDEO && s->frames > 0 && s->rate.under);
}

/* Where frame `index` of a film of constant rate is looked for: half a frame before it, so that rounded time stamps
 * neither lose it nor bring the one before. */
static double seek_seconds(const Stream *s, int64_t index) {
    return index > 0 && s->rate.under ? ((double)index - 0.5) / rate_value(s->rate) : 0;
}

int stream_picture(Stream *s, int64_t index, Image *picture) {
    if (s->kind == STREAM_FILES) return read_file(s, index, picture);
    VideoReader *reader;
    bool end = false;
    VideoReadOptions how = {.run = s->run, .start = seek_seconds(s, index)};
    int rc = video_open(s->path, &s->facts, &how, &reader);
    if (rc) return rc;
    rc = video_read(reader, picture, &end);
    video_close(&reader);
    if (!rc && end) rc = fail(ERR_INPUT, "%s: has no frame %lld", s->name, (long long)index);
    return rc;
}

bool picture_is_flat(const Image *picture) {
    int64_t n = image_pixels(picture), step = n / 4096 + 1, count = 0;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i += step, count++) {
        double v = picture->bytes[i * picture->channels + (picture->channels == 3)];
        sum += v;
        squares += v * v;
    }
    double mean = sum / (double)count;
    return squares / (double)count - mean * mean < 8.0 * 8.0;
}

static int read_y4m(Stream *s, Image *picture, bool *end) {
    int rc = y4m_read(s->y4m, picture, end);
    if (!rc && !*end) s->at++;
    if (!rc && *end) s->ended = true;
    return rc;
}

int stream_look_ahead(Stream *s, int64_t first, int64_t step, int wanted) {
    bool end = false;
    int rc = 0, useful = 0;
    while (!rc && !end && s->at < first) rc = read_y4m(s, NULL, &end);
    size_t bytes = (size_t)s->width * (size_t)s->height * (size_t)s->channels, most = (size_t)256 << 20,
           room = most / bytes;
    while (!rc && !end && useful < wanted && s->ahead_count < AHEAD_MAX &&
           (s->ahead_count < 2 || (size_t)s->ahead_count < room)) {
        int64_t index = s->at;
        bool keep = (index - first) % step == 0;
        Image *to = &s->ahead[s->ahead_count];
        rc = read_y4m(s, keep ? to : NULL, &end);
        if (rc || end || !keep) continue;
        s->ahead_index[s->ahead_count++] = index;
        useful += !picture_is_flat(to);
    }
    /* what came before a fault is still a film; the fault comes again when reading gets there */
    if (rc == ERR_INPUT && s->ahead_count) {
        s->ended = false;
        return 0;
    }
    return rc;
}

int stream_begin(Stream *s, int64_t first, int64_t step, int64_t skip) {
    s->step = step > 0 ? step : 1;
    if (s->kind == STREAM_VIDEO) {
        VideoReadOptions how = {
            .run = s->run, .start = seek_seconds(s, first), .skip = skip * s->step, .every = s->step};
        if (!s->rate.under) how = (VideoReadOptions){.run = s->run, .skip = first + skip * s->step, .every = s->step};
        return video_open(s->path, &s->facts, &how, &s->video);
    }
    if (s->kind == STREAM_FILES) {
        s->at = first + skip * s->step;
        return 0;
    }
    s->stop = first + skip * s->step; /* the next index wanted */
    return 0;
}

int stream_next(Stream *s, Image *picture, bool *end) {
    *end = false;
    if (s->kind == STREAM_VIDEO) return video_read(s->video, picture, end);
    if (s->kind == STREAM_FILES) {
        *end = s->at >= s->frames;
        int rc = *end ? 0 : read_file(s, s->at, picture);
        s->at += s->step;
        return rc;
    }
    int rc = 0;
    while (s->ahead_count) {
        int slot = s->ahead_first;
        s->ahead_first++;
        s->ahead_count--;
        if (s->ahead_index[slot] == s->stop) {
            image_free(picture);
            *picture = s->ahead[slot];
            s->ahead[slot] = (Image){0};
            s->stop += s->step;
            return 0;
        }
        image_free(&s->ahead[slot]);
    }
    *end = s->ended;
    while (!rc && !*end && s->at < s->stop) rc = read_y4m(s, NULL, end);
    if (!rc && !*end) rc = read_y4m(s, picture, end);
    s->stop += s->step;
    return rc;
}

bool stream_broke_off(const Stream *s) {
    return s->kind == STREAM_Y4M && y4m_broke_off(s->y4m);
}

static void hash_file(Sha256 *hash, const char *path, bool content) {
    enum { PIECE = 64 << 10 };
    struct stat st;
    if (stat(path, &st) != 0) return;
    int64_t numbers[3] = {(int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec};
    sha256_add(hash, numbers, sizeof numbers);
    uint8_t *bytes = content ? mem_alloc(PIECE) : NULL;
    int fd = bytes ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        ssize_t n = pread(fd, bytes, PIECE, 0);
        if (n > 0) sha256_add(hash, bytes, (size_t)n);
        n = pread(fd, bytes, PIECE, st.st_size > PIECE ? st.st_size - PIECE : 0);
        if (n > 0) sha256_add(hash, bytes, (size_t)n);
        close(fd);
    }
    mem_free(bytes);
}

int stream_identity(Stream *s, char hex[65]) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_begin(&hash);
    if (s->kind == STREAM_FILES)
        for (int64_t i = 0; i < s->frames; i++) {
            const char *slash = strrchr(s->files[i], '/');
            sha256_add(&hash, slash, strlen(slash) + 1);
            hash_file(&hash, s->files[i], false);
        }
    else if (strcmp(s->path, "-") != 0 && s->kind != STREAM_Y4M)
        hash_file(&hash, s->path, true);
    else { /* a stream cannot be looked at from both ends: its form and first pictures have to do */
        int64_t numbers[4] = {s->width, s->height, s->rate.over, s->rate.under};
        sha256_add(&hash, numbers, sizeof numbers);
        for (int i = 0; i < s->ahead_count; i++)
            sha256_add(&hash, s->ahead[i].bytes, (size_t)image_pixels(&s->ahead[i]) * (size_t)s->ahead[i].channels);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, hex);
    return 0;
}
