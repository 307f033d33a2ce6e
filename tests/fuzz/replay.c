/* tests/fuzz/replay.c - a main for a fuzz target: runs it over every file of tests/fuzz/corpus/NAME (or over the files
 * and folders given), so that what a fuzzer once found stays found in `make test`, with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replayed;

static int replay(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return 0; /* a target without corpus yet */
    if (S_ISDIR(st.st_mode)) {
        struct dirent **entries;
        int count = scandir(path, &entries, NULL, alphasort), bad = count < 0;
        for (int i = 0; i < count; i++) {
            char inner[4096];
            snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.') bad |= replay(inner);
            free(entries[i]);
        }
        free(entries);
        return bad;
    }
    FILE *file = fopen(path, "rb");
    size_t size = (size_t)st.st_size;
    /* exactly as long as the file, so that the sanitizers see the first byte behind it */
    uint8_t *data = malloc(size ? size : 1);
    if (!file || !data || fread(data, 1, size, file) != size) {
        printf("cannot read %s\n", path);
        return 1;
    }
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last one named is the one that broke it */
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
    return 0;
}

int main(int argc, char **argv) {
    const char *name = strstr(argv[0], "fuzz_");
    for (const char *later = name; later; later = strstr(later + 1, "fuzz_")) name = later;
    char folder[512];
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name ? name + 5 : "");
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    int bad = 0;
    if (argc < 2) bad = replay(folder);
    for (int i = 1; i < argc; i++) bad |= replay(argv[i]);
    printf("[       OK ] %d inputs\n", replayed);
    return bad;
}
