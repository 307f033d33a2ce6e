/* apps/lib/journal.h - how far long work has come, so that it can go on after anything.
 *
 * A journal is a text file in a work folder of its own. It begins with the settings of the work, one "= NAME VALUE" a
 * line, and goes on with one "+ TEXT" for every piece that is finished. A line that a kill cut short is dropped. While
 * it is open the folder is locked: a second run is refused with the number of the first. Pieces are noted after their
 * files have their final names, so that what the journal says is never too much. */
#ifndef PANUM_APPS_LIB_JOURNAL_H
#define PANUM_APPS_LIB_JOURNAL_H
#include <stdbool.h>
#include <stdint.h>

enum { JOURNAL_TEXT = 400 };
typedef struct {
    const char *name;         /* as an option's, shown to people */
    char value[JOURNAL_TEXT]; /* printable */
} JournalSetting;

typedef enum {
    JOURNAL_RESUME, /* go on with what is there, begin when there is nothing */
    JOURNAL_ANEW    /* drop what is there */
} JournalMode;

typedef struct Journal Journal;
/* Told of every piece of unfinished work that JOURNAL_ANEW drops, so that its files can go too. */
typedef void (*JournalDrop)(void *context, const char *piece);
/* `folder` is made when missing; one that is there and not panum's is refused. `output` is what people know the work
 * by. ERR_USAGE when the settings of unfinished work differ from these, naming which; and when another process has it
 * open. */
int journal_open(const char *folder, const char *output, const JournalSetting *settings, int count, JournalMode mode,
                 JournalDrop drop, void *context, Journal **journal);
int64_t journal_pieces(const Journal *journal);
const char *journal_piece(const Journal *journal, int64_t index); /* its TEXT */
int journal_add(Journal *journal, const char *text);
/* Forgets all pieces but the first `keep`. */
int journal_cut(Journal *journal, int64_t keep);
void journal_close(Journal **journal); /* the work can go on later; NULL inside is fine */
/* The work is finished or given up: removes the folder with everything in it that panum made. */
void journal_remove(Journal **journal);
#endif
