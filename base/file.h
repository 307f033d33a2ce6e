/* base/file.h - reading files we did not write, and writing files that are whole or not there.
 *
 * Reading. file_read takes a whole regular file into memory (a folder, a FIFO without writer, an endless device or a
 * file over `limit` is refused with a sentence). file_map maps a regular file read-only; a file that shrinks while
 * mapped is noticed by file_check, and reads beyond its end are turned into zeros by the guard instead of SIGBUS.
 *
 * Writing. out_open makes `PATH.part.PID.panum` beside PATH; out_commit flushes, fsyncs, renames and fsyncs the folder;
 * until then nothing under the final name changes. An existing PATH is refused unless OUT_OVERWRITE; a symbolic link is
 * followed (its target is replaced, the link stays); a device or FIFO is written in place; "-" is standard output.
 * A full disk is ERR_MEMORY with how much was written, and the old file stays whole. */
#ifndef PANUM_BASE_FILE_H
#define PANUM_BASE_FILE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int file_read(const char *path, size_t limit, uint8_t **bytes, size_t *size); /* caller frees with mem_free */

typedef struct FileMap FileMap;
int file_map(const char *path, FileMap **map);
const uint8_t *file_map_bytes(const FileMap *map);
size_t file_map_size(const FileMap *map);
int file_map_check(const FileMap *map); /* 0, or ERR_INPUT "changed while being read" */
void file_unmap(FileMap *map);          /* NULL is fine */

typedef enum { OUT_NEW = 0, OUT_OVERWRITE = 1 } OutMode;
typedef struct Out Out;
int out_open(const char *path, OutMode mode, Out **out);
int out_write(Out *out, const void *data, size_t bytes); /* buffered; errors are sticky and reported by commit too */
int out_print(Out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int out_commit(Out **out); /* makes it visible and frees; on failure nothing was replaced, and it is freed too */
void out_abort(Out **out); /* removes the part file and frees; NULL inside is fine */
/* An Out into memory, for what goes inside something else (a PNG in a page). out_memory_take commits it: the bytes
 * become the caller's (mem_free); on failure they are NULL. out_abort drops it; out_commit is not for it. */
int out_memory(Out **out);
int out_memory_take(Out **out, uint8_t **bytes, size_t *size);
/* Would out_open succeed as far as can be said before the work is done? (exists without overwrite, folder missing, ...)
 */
int out_check(const char *path, OutMode mode);
/* Would two outputs be one file? Links are followed, folders compared by what they are; a folder need not be there yet.
 */
bool out_same(const char *a, const char *b);
/* Removes part files of processes that are gone. Call at start of long work. */
void out_sweep(const char *folder);
#endif
