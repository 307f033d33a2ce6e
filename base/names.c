#include "base/names.h"

#include <stdlib.h>
#include <string.h>

static int order(const void *a, const void *b) {
    return strcmp(((const IndexedName *)a)->name, ((const IndexedName *)b)->name);
}

void names_sort(IndexedName *names, int count) {
    if (count > 0) qsort(names, (size_t)count, sizeof *names, order);
}

const char *names_double(const IndexedName *names, int count) {
    for (int i = 1; i < count; i++)
        if (strcmp(names[i - 1].name, names[i].name) == 0) return names[i].name;
    return NULL;
}

int names_find(const IndexedName *names, int count, const char *name) {
    int low = 0, high = count;
    while (low < high) {
        int middle = low + (high - low) / 2, side = strcmp(name, names[middle].name);
        if (side == 0) return names[middle].index;
        if (side < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}
