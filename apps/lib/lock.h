/* apps/lib/lock.h - one panum at a time works in a folder. */
#ifndef PANUM_APPS_LIB_LOCK_H
#define PANUM_APPS_LIB_LOCK_H

/* Makes `folder` where it is missing, locks FOLDER/lock and writes our number into it. `output` is what people know the
 * work by. ERR_USAGE with the number of the other process when it is taken. The lock ends with close(*descriptor), or
 * with the process, however that ends. */
int folder_lock(const char *folder, const char *output, int *descriptor);
/* Removes a locked folder in which there is nothing but the lock; any other stays as it is. */
void folder_unmake(const char *folder);
#endif
