/* The journal of unfinished work and what a film notes in it: bytes as they lie in a work folder. Refused, or begun
 * anew, or gone on with; a piece is a line of the file, and ranges and figures that are taken up are such as can have
 * been noted. What was cut or added is there when the journal is opened again. */
#include "apps/match_film.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char work[64], file[96], lock[96];

static void demand(bool holds) {
    if (!holds) abort();
}

static void leave(void) {
    unlink(file);
    unlink(lock);
    rmdir(work);
}

static void make_folder(void) {
    /* in memory where that is to be had: journals are synced to the disk */
    snprintf(work, sizeof work, "/dev/shm/panum_fuzz_journal_XXXXXX");
    if (!mkdtemp(work)) {
        snprintf(work, sizeof work, P_tmpdir "/panum_fuzz_journal_XXXXXX");
        demand(mkdtemp(work) != NULL);
    }
    snprintf(file, sizeof file, "%s/journal", work);
    snprintf(lock, sizeof lock, "%s/lock", work);
    atexit(leave);
}

static const JournalSetting settings[2] = {{"model", "sgm"}, {"scale", "1"}};

static void drop(void *context, const char *piece) {
    ++*(int64_t *)context;
    demand(!strchr(piece, '\n'));
}

static Journal *open_again(JournalMode mode, int64_t *dropped) {
    Journal *journal;
    int rc = journal_open(work, "film.mkv", settings, 2, mode, drop, dropped, &journal);
    demand(rc ? rc == ERR_USAGE && *err_sentence() && !journal : journal != NULL);
    return journal;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*work) make_folder();
    for (int i = 0; i < 2; i++) {
        FILE *to = fopen(i ? lock : file, "wb");
        demand(to && (i || fwrite(data, 1, size, to) == size) && fclose(to) == 0);
    }
    int64_t dropped = 0;
    err_clear();
    Journal *journal = open_again(JOURNAL_RESUME, &dropped);
    demand(dropped == 0);
    if (journal) {
        int64_t count = journal_pieces(journal);
        for (int64_t i = 0; i < count; i++) demand(!strchr(journal_piece(journal, i), '\n'));
        Run run = {.journal = journal};
        if (read_ranges(&run)) {
            demand(run.range[0] <= run.range[1] && run.range[0] > -(1 << 20) && run.range[1] < 1 << 20);
            demand(isfinite(run.where.range) && run.where.range >= 0);
        }
        for (int64_t i = 1; i < count; i++) {
            int64_t number;
            FrameFacts facts;
            if (!parse_frame(journal_piece(journal, i), &number, &facts)) break;
            const PairSummary *s = &facts.summary;
            demand(number >= 0 && isfinite(s->nearest + s->farthest + s->front + s->behind + s->screen));
            demand(isfinite(s->confidence + s->trusted + s->hidden));
        }
        if (count > 1) {
            demand(journal_cut(journal, 1) == 0 && journal_pieces(journal) == 1);
            count = 1;
        }
        demand(journal_add(journal, "frame and so on") == 0);
        journal_close(&journal);
        journal = open_again(JOURNAL_RESUME, &dropped);
        demand(journal && journal_pieces(journal) == count + 1);
        demand(strcmp(journal_piece(journal, count), "frame and so on") == 0);
        journal_close(&journal);
        journal = open_again(JOURNAL_ANEW, &dropped);
        demand(journal && dropped == count + 1 && journal_pieces(journal) == 0);
    } else {
        journal = open_again(JOURNAL_ANEW, &dropped);
        demand(journal && journal_pieces(journal) == 0);
    }
    journal_close(&journal);
    return 0;
}
