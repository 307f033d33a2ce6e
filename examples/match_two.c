/* examples/match_two.c - matches two grey pictures (binary PGM, 8 bits) and says what stands where.
 *
 *     cc match_two.c -lpanum -lm -lpthread -o match_two
 *     ./match_two left.pgm right.pgm
 */
#include <panum.h>

#include <stdio.h>
#include <stdlib.h>

static unsigned char *read_pgm(const char *path, int *width, int *height) {
    int most;
    FILE *file = fopen(path, "rb");
    if (!file || fscanf(file, "P5 %d %d %d", width, height, &most) != 3 || most != 255 || fgetc(file) == EOF) {
        fprintf(stderr, "%s is not an 8-bit binary PGM\n", path);
        exit(3);
    }
    size_t size = (size_t)*width * (size_t)*height;
    unsigned char *pixels = malloc(size);
    if (!pixels || fread(pixels, 1, size, file) != size) {
        fprintf(stderr, "%s breaks off\n", path);
        exit(3);
    }
    fclose(file);
    return pixels;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s left.pgm right.pgm\n", argv[0]);
        return 2;
    }
    int width, height, right_width, right_height;
    unsigned char *left = read_pgm(argv[1], &width, &height), *right = read_pgm(argv[2], &right_width, &right_height);
    if (right_width != width || right_height != height) {
        fprintf(stderr, "the pictures are of different size\n");
        return 3;
    }

    PanumOptions options = PANUM_OPTIONS;
    options.model = "sgm";
    PanumMatcher *matcher;
    int rc = panum_open(&options, &matcher);
    if (!rc) rc = panum_match(matcher, left, width, right, width, width, height, 1);
    if (rc) {
        fprintf(stderr, "%s\n", panum_error());
        return rc;
    }

    const float *disparity = panum_disparity(matcher);
    long front = 0, behind = 0, count = (long)width * height;
    for (long i = 0; i < count; i++) {
        front += disparity[i] > 1;
        behind += disparity[i] < -1;
    }
    printf("%s: %.0f %% in front of the screen, %.0f %% behind, %+.1f px in the middle\n", panum_describe(matcher),
           100.0 * (double)front / (double)count, 100.0 * (double)behind / (double)count,
           (double)disparity[(long)(height / 2) * width + width / 2]);
    panum_close(matcher);
    free(left);
    free(right);
    return 0;
}
