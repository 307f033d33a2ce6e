/* apps/lib/lock.h - one panum at a time works in a folder. */
#ifndef PANUM_APPS_LIB_LOCK_H
#define PANUM_APPS_LIB_LOCK_H

/* Makes `folder` where it is missing, locks FOLDER/lock and writes our number into it. `output` is what people know the
 * work by. ERR_USAGE with the number of the other process when it is taken. The lock ends with close(*descriptor), or
 * with the process, however that ends. */
int folder_lock(const char *folder, const char *output, int *descriptor);
/* Makes what is missing of the folders above `folder`; *made is how many those are. */
int folder_make_above(const char *folder, int *made);
/* Removes a locked folder in which there is nothing but the lock, and then `made` folders above it; what holds anything
 * else stays as it is. */
void folder_unmake(const char *folder, int made);
#endif
