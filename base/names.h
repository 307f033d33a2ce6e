/* base/names.h - a table of names in the order of strcmp: doubles are noticed, a name is found by halving. */
#ifndef PANUM_BASE_NAMES_H
#define PANUM_BASE_NAMES_H

typedef struct {
    const char *name; /* the caller's */
    int index;        /* whatever it stands for */
} IndexedName;

void names_sort(IndexedName *names, int count);
/* Of a sorted table: a name that is in it twice, NULL when there is none. */
const char *names_double(const IndexedName *names, int count);
/* Of a sorted table: the index that stands with `name`, -1 when it is not there. */
int names_find(const IndexedName *names, int count, const char *name);
#endif
