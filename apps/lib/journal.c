#include "apps/lib/journal.h"
#include "apps/lib/lock.h"
#include "apps/lib/run.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOURNAL_MAX = 256 << 20 };
static const char first_line[] = "panum journal 1\n";

struct Journal {
    char folder[PATH_MAX], path[PATH_MAX];
    int lock, file;
    char *text;    /* of the file as it was opened or cut, newlines replaced by ends of string */
    char **pieces; /* into text */
    int64_t count;
};

static int name_in(char path[PATH_MAX], const char *folder, const char *name) {
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX) return 0;
    return fail(ERR_USAGE, "%s: the name is too long", show_path(folder));
}

/* Everything in it but a lock and a journal would be removed sooner or later: only from folders that have one. */
static bool is_foreign(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return false;
    bool ours = false, empty = true;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        empty = false;
        ours = ours || strcmp(entry->d_name, "lock") == 0;
    }
    closedir(dir);
    return !ours && !empty;
}

static int take_lock(Journal *j, const char *output) {
    if (is_foreign(j->folder))
        return fail(ERR_USAGE, "%s: is needed for unfinished work, and holds something else; choose another output",
                    show_path(j->folder));
    return folder_lock(j->folder, output, &j->lock);
}

static bool is_ours(const char *name) {
    static const char *const begins[] = {"frame_", "part_", "parts.txt", "journal", "whole."};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

static void remove_content(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (is_ours(entry->d_name)) unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

/* ---- the file ------------------------------------------------------------------------------------------------------
 */

static int write_settings(const char *path, const JournalSetting *settings, int count) {
    Out *out;
    int rc = out_open(path, OUT_OVERWRITE, &out);
    if (rc) return rc;
    rc = out_print(out, "%s", first_line);
    for (int i = 0; !rc && i < count; i++) rc = out_print(out, "= %s %s\n", settings[i].name, settings[i].value);
    int end = rc ? 0 : out_commit(&out);
    out_abort(&out);
    return rc ? rc : end;
}

static void compare(char *differences, size_t size, const JournalSetting *settings, int count, const char *name,
                    const char *value) {
    size_t n = strlen(differences);
    for (int i = 0; i < count; i++) {
        if (strcmp(settings[i].name, name) != 0) continue;
        if (strcmp(settings[i].value, value) != 0)
            snprintf(differences + n, size - n, "%s%s was %.60s and is %.60s", n ? ", " : "", name,
                     *value ? value : "not given", *settings[i].value ? settings[i].value : "not given");
        return;
    }
    snprintf(differences + n, size - n, "%s%s was %.60s", n ? ", " : "", name, value);
}

/* Takes the text apart; the settings in it must be these (*same), unless no piece was finished with others. */
static int parse(Journal *j, const char *output, const JournalSetting *settings, int count, bool *same) {
    char differences[600] = "";
    int64_t room = 0;
    int seen = 0;
    char *at = j->text + sizeof first_line - 1;
    while (*at) {
        char *end = strchr(at, '\n');
        *end = 0; /* there is one: the text was cut behind the last */
        if (at[0] == '=' && at[1] == ' ') {
            char *name = at + 2, *value = strchr(name, ' ');
            if (value) {
                *value++ = 0;
                compare(differences, sizeof differences, settings, count, name, value);
                seen++;
            }
        } else if (at[0] == '+' && at[1] == ' ') {
            if (j->count == room) {
                room = room ? 2 * room : 1024;
                char **more = mem_grow(j->pieces, (size_t)room * sizeof *more);
                if (!more) return ERR_MEMORY;
                j->pieces = more;
            }
            j->pieces[j->count++] = at + 2;
        }
        at = end + 1;
    }
    if ((*differences || seen != count) && j->count)
        return fail(ERR_USAGE,
                    "%s: was begun with other settings (%s); give the same ones to go on, or --no-resume to start anew",
                    show_path(output), *differences ? differences : "another version wrote its journal");
    *same = !*differences && seen == count;
    return 0;
}

/* The journal's text behind its first line, up to its last whole line; *there: there is one. */
static int load(Journal *j, bool *there) {
    uint8_t *bytes;
    size_t size;
    *there = false;
    struct stat st;
    if (stat(j->path, &st) != 0) return 0;
    int rc = file_read(j->path, JOURNAL_MAX, &bytes, &size);
    if (rc) return rc;
    while (size && bytes[size - 1] != '\n') size--; /* a line cut short by a kill */
    bool whole = size >= sizeof first_line - 1 && memcmp(bytes, first_line, sizeof first_line - 1) == 0 &&
                 !memchr(bytes, 0, size);
    if (!whole) { /* nothing is lost: the settings come first and are written in one go */
        mem_free(bytes);
        return 0;
    }
    j->text = mem_alloc(size + 1);
    if (j->text) {
        memcpy(j->text, bytes, size);
        j->text[size] = 0;
    }
    mem_free(bytes);
    if (!j->text) return ERR_MEMORY;
    *there = true;
    if (truncate(j->path, (off_t)size) != 0)
        return fail(ERR_FAILED, "%s: cannot be written: %s", show_path(j->path), strerror(errno));
    return 0;
}

static void drop_pieces(Journal *j, JournalDrop drop, void *context) {
    for (char *at = j->text + sizeof first_line - 1, *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        *end = 0;
        if (at[0] == '+' && at[1] == ' ') drop(context, at + 2);
    }
}

int journal_open(const char *folder, const char *output, const JournalSetting *settings, int count, JournalMode mode,
                 JournalDrop drop, void *context, Journal **result) {
    *result = NULL;
    Journal *j = mem_zero(1, sizeof *j);
    if (!j) return ERR_MEMORY;
    j->lock = j->file = -1;
    snprintf(j->folder, sizeof j->folder, "%s", folder);
    int rc = name_in(j->path, folder, "journal");
    if (!rc) rc = take_lock(j, output);
    bool there = false;
    if (!rc) out_sweep(folder);
    if (!rc) rc = load(j, &there);
    if (!rc && there && mode == JOURNAL_RESUME) rc = parse(j, output, settings, count, &there);
    if (!rc && there && mode == JOURNAL_ANEW) {
        drop_pieces(j, drop, context);
        there = false;
    }
    if (!rc && !there) {
        remove_content(folder); /* pieces that no journal speaks of */
        rc = write_settings(j->path, settings, count);
    }
    if (!rc) {
        j->file = open(j->path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (j->file < 0) rc = fail(ERR_FAILED, "%s: cannot be written: %s", show_path(j->path), strerror(errno));
    }
    if (rc)
        journal_close(&j);
    else
        *result = j;
    return rc;
}

int64_t journal_pieces(const Journal *j) {
    return j->count;
}

const char *journal_piece(const Journal *j, int64_t index) {
    return j->pieces[index];
}

int journal_add(Journal *j, const char *text) {
    char line[JOURNAL_TEXT + 8];
    int n = snprintf(line, sizeof line, "+ %s\n", text);
    BUG_IF(n < 0 || (size_t)n >= sizeof line, "journal: a long line");
    ssize_t done;
    do done = write(j->file, line, (size_t)n); /* one call: whole, or cut at its end */
    while (done < 0 && errno == EINTR);
    if (done == n) return 0;
    int e = done < 0 ? errno : ENOSPC;
    return fail(e == ENOSPC || e == EDQUOT || e == EFBIG ? ERR_MEMORY : ERR_FAILED, "%s: cannot be written: %s",
                show_path(j->path), strerror(e));
}

int journal_cut(Journal *j, int64_t keep) {
    if (keep >= j->count) return 0;
    /* pieces follow each other in the file, each with its sign and its newline */
    off_t size = (off_t)(j->pieces[keep] - 2 - j->text);
    if (ftruncate(j->file, size) != 0)
        return fail(ERR_FAILED, "%s: cannot be shortened: %s", show_path(j->path), strerror(errno));
    j->count = keep;
    return 0;
}

void journal_close(Journal **journal) {
    Journal *j = *journal;
    if (!j) return;
    if (j->file >= 0) close(j->file);
    if (j->lock >= 0) close(j->lock);
    mem_free(j->pieces);
    mem_free(j->text);
    mem_free(j);
    *journal = NULL;
}

void journal_remove(Journal **journal) {
    Journal *j = *journal;
    if (!j) return;
    char path[PATH_MAX];
    remove_content(j->folder);
    if (name_in(path, j->folder, "lock") == 0) unlink(path);
    rmdir(j->folder); /* stays when something lies in it that is not ours */
    journal_close(journal);
}
