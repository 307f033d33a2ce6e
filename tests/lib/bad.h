/* tests/lib/bad.h - inputs that must be survived, as tables: what is made, what is run, which exit code and which words
 * must be seen. Of every case it is checked that
 *   - the program ends by itself (no signal), with that code, and says those words;
 *   - a failure leaves no file behind and changes none, not even a part file (not for commands with a "; " in them);
 *   - the address space stays within the case's limit (not under a sanitizer, which needs its own).
 *
 * The numbers are the rows of the specification (reliability, section 5): tests/bad/test_pictures.c has I,
 * test_weights.c W, test_films.c V, test_commands.c C and S, test_training.c K, test_gt.c what can befall panum gt. */
#ifndef PANUM_TESTS_BAD_H
#define PANUM_TESTS_BAD_H
#include "data/image.h"
#include "tests/lib/check.h"

typedef struct {
    const char *id;
    void (*make)(void);
    const char *command; /* in the case's folder; $P is the program, $T the tree, $F faults.c to be loaded */
    int code;
    const char *pattern; /* words that must be seen */
    int limit;           /* MiB of address space; 0: 512; below 0: none, and not under a sanitizer */
} Case;

#define VERIFY "$P model verify w.safetensors"
#define MATCH "$P match l.png r.png --threads 2 -o o.pfm"
/* A file as output that takes no byte. */
#define FULL(name, command) "ln -s /dev/full " name "; " command "; e=$?; rm " name "; exit $e"

int bad_set_up(void **state); /* for cmocka_run_group_tests */
int bad_tear_down(void **state);
void run_table(const Case *cases, size_t count); /* fails the test when one of them does */
#define RUN_TABLE(cases) run_table(cases, sizeof(cases) / sizeof *(cases))

const char *bad_program(void);            /* absolute */
extern char said[1 << 16];                /* what the last command said */
const char *bad_folder(const char *name); /* a fresh one, in which things are made from now on */
uint64_t fingerprint(const char *path);   /* names and contents of all files below it */
bool has_part(const char *path);          /* a file half written */

/* ---- making files in the folder of the case that is running; what cannot be made fails the test ---- */
const char *made_path(const char *name); /* static text, four calls deep */
void put_bytes(const char *name, const void *bytes, size_t size);
void put_text(const char *name, const char *text);
typedef struct {
    uint8_t *bytes; /* of malloc, with room for a byte behind */
    size_t size;
} Bytes;
Bytes get_bytes(const char *name);
void cut(const char *name, double share); /* keeps so much of it */
void save(const char *name, const Image *image);
const Image *made_eye(int eye); /* a good pair, 128 x 96, grey */
void make_pair(void);           /* it as l.png and r.png */
void make_batch(void);          /* it three times in left/ and right/, and an empty out/ */
void make_precious(void);       /* l.png, r.png and an o.pfm that reads "precious" */
void make_maps(void);           /* o.pfm, t.pfm: 2 x 2 */
/* w.safetensors: a length, a header, `size` bytes of data. */
void put_safetensors(uint64_t length, const char *header, size_t header_size, const void *data, size_t size);
#define GOOD_WEIGHTS                                                                                             \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"F32\",\"shape\":[2]," \
    "\"data_offsets\":[16,24]}}"
void weights_good(void); /* that, with numbers */
#endif
