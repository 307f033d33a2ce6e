/* apps/gt.h - what the files of `panum gt` share: what was asked for, the films, and what became of their frames.
 *
 * apps/gt.c has the options, apps/gt_films.c finds films and picks frames, apps/gt_run.c goes through them,
 * apps/gt_report.c writes the manifest and the report. What is done stands in a journal (apps/lib/journal.h) in
 * OUTPUT/gt.work, which stays: a later run reads it and adds what is missing. */
#ifndef PANUM_APPS_GT_H
#define PANUM_APPS_GT_H
#include "apps/lib/anchor.h"
#include "apps/lib/device_choice.h"
#include "apps/lib/journal.h"
#include "apps/lib/options.h"
#include "apps/lib/progress.h"
#include "apps/lib/run.h"
#include "data/film.h"
#include "data/film_set.h"

typedef struct {
    const char *output, *reuse, *weights, *reject, *device;
    DeviceChoice where;
    OptionList full;
    bool overwrite, dry_run, json, meta, resume, swap_eyes, shots, check, reference, positive, ignore_crc, lenient;
    int model, precision, behaviour, layout, pictures, progress;
    OptionRange range;
    int64_t per_film, seed, threads, max_memory, refine_iter;
    double vertical, confidence, consistent;
    TalkOptions talk;
} GtOptions;

extern const Verb verb_gt;

/* A film: frames of a set, or a video, whose frames get numbers that no other film has. */
typedef struct {
    const char *name;
    const char *path;     /* of a video in this run; NULL: frames of the set, or a video of an earlier run */
    char identity[65];    /* of a video: data/film.h; "" for frames of a set */
    int64_t start, end;   /* numbers of its frames, inclusive */
    int64_t first, count; /* of a set: where its frames lie in it; of a video first is 0 */
    bool active;          /* it is part of this run */
    int64_t *picked;      /* ascending, 0..count-1 */
    int64_t picked_count, missing;
    int64_t *cuts; /* numbers with which a shot begins, ascending; not that of the film's first frame */
    int64_t cut_count;
    int samples;      /* kept frames that this run set aside for the report */
    bool shots_whole; /* all of the film's cuts are known */
    bool shots_begun; /* those up to the last frame done are */
} GtFilm;

typedef struct {
    int64_t number;
    int64_t order; /* of two about one frame the later one holds */
    AnchorReason reason;
    bool reused, swapped; /* taken from --reuse; the eyes were exchanged before anything else */
    int width, height;    /* of the map, or of the eye when there is none */
    AnchorFigures figures;
    const char *why; /* "" for most */
} GtRecord;

typedef struct {
    const GtOptions *o;
    Arena *arena;
    const char *command; /* as it can be typed again */
    bool is_set;
    FilmSet set; /* empty for videos */
    const char *root;
    GtFilm *films;
    int64_t film_count;
    GtRecord *records; /* by number, then by order, up to `known`; behind it those of this run as they come */
    int64_t record_count, known;
    AnchorLimits limits;
    ReadOptions read;
    char folder[4000], work[4096]; /* the output without a / at its end; its work folder */
    const char *reuse;             /* folder, NULL: none */
    Journal *journal;
    Matcher *matcher;
    Progress progress;
    int64_t done; /* frames finished in this run */
    FileMeta meta;
} Gt;

/* apps/gt_films.c */
int gt_find(Gt *gt, const char *const *operands, int count);
int gt_load(Gt *gt);     /* records, cuts and films of earlier runs from the journal */
int gt_register(Gt *gt); /* videos that the journal does not know yet get their numbers */
int gt_pick(Gt *gt);     /* frames to take, and which of them are missing */
int gt_add_record(Gt *gt, const GtRecord *record);
int gt_add_cut(GtFilm *film, int64_t number);
int64_t gt_number_at(const Gt *gt, const GtFilm *film, int64_t index); /* of the film's index-th frame */
GtFilm *gt_film_of(const Gt *gt, int64_t number);                      /* NULL: in none */
int64_t gt_shot(const GtFilm *film, int64_t number);                   /* from 1 */
/* The frame of the set with this number; NULL for none, and for videos. */
const FilmFrame *gt_frame_of(const Gt *gt, int64_t number);
/* Where the frame's anchor lies, and below which name a picture of a video is kept; into a caller's buffer. */
enum { GT_PATH = 4400 };
const char *gt_anchor_path(const Gt *gt, int64_t number, const char *folder, char path[GT_PATH]);
const char *gt_picture_path(const Gt *gt, int64_t number, const char *eye, char path[GT_PATH]);
bool gt_is_done(const Gt *gt, const GtRecord *record);
/* The latest record of a frame among those known at the start; NULL: none. */
const GtRecord *gt_record_of(const Gt *gt, int64_t number);

/* apps/gt_run.c */
int gt_run(Gt *gt);

/* apps/gt_report.c: from the records; sorts them. */
enum { GT_SAMPLE_WIDTH = 400 };
#define GT_SAMPLE_RANGE 0.03 /* of the width: disparity at full colour in the report's maps */
int gt_write_manifest(Gt *gt);
int gt_write_report(Gt *gt);
int gt_write_structure(const Gt *gt); /* film_structure.json of videos */
void gt_tell(const Gt *gt);
void gt_print_json(const Gt *gt);
#endif
