/* apps/lib/options.h - the command line of a verb as one table.
 *
 * From the table come parsing, --help, the man page, the bash completion and the README's list of verbs, so that they
 * cannot drift apart. Grammar:
 *   --name VALUE, --name=VALUE, -x VALUE, -xVALUE; flags --name and --no-name, short flags may be joined (-qy);
 *   a long name may be shortened while it stays unique among this verb's names (scripts should spell it out);
 *   "--" ends options; "-" alone is an operand (standard input or output); options and operands in any order;
 *   @FILE reads more arguments from FILE: separated by blanks or lines, "..." and '...' keep blanks, # starts a comment
 *   to the end of the line; inside such a file @ is an ordinary character.
 *   An option given twice is an error, unless its kind collects (OPTION_PATHS) or counts (OPTION_COUNT).
 * Numbers: an optional '-', digits, an optional point and digits, an optional exponent; nothing else (no 0x, no nan,
 * no blanks, no -0), always with a point, whatever the locale. */
#ifndef PANUM_APPS_LIB_OPTIONS_H
#define PANUM_APPS_LIB_OPTIONS_H
#include "base/mem.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Each kind writes one C type at `at` bytes into the verb's own struct of values. */
typedef enum {
    OPTION_FLAG,     /* bool; --no-name makes it false */
    OPTION_COUNT,    /* int: how many times it was given, at most `most` */
    OPTION_WHOLE,    /* int64_t in least..most */
    OPTION_REAL,     /* double in least..most; `unit` may follow the number */
    OPTION_FRACTION, /* double in least..most: 0.5 or 50% */
    OPTION_LENGTH,   /* OptionLength: 12, 12px or 3% (of the width) */
    OPTION_RANGE,    /* OptionRange: LO:HI in one unit: -64:64, -64:64px, -3:3%, -3%:3% */
    OPTION_SIZE,     /* int64_t bytes: 512M, 8G, 1.5GiB; K, M, G, T are powers of 1,024 */
    OPTION_CHOICE,   /* int: index into `choices`, "a|b|c" */
    OPTION_TEXT,     /* const char *, not empty */
    OPTION_PATH,     /* const char *, not empty */
    OPTION_PATHS,    /* OptionList, may be repeated */
} OptionKind;

typedef struct {
    double value;
    bool percent; /* of the picture's width; else pixels */
} OptionLength;

typedef struct {
    double low, high;
    bool percent, given;
} OptionRange;

typedef struct {
    const char **items;
    int count;
} OptionList;

typedef struct {
    const char *name; /* without dashes */
    char letter;      /* 0: no short form */
    OptionKind kind;
    size_t at;            /* offsetof in the verb's values */
    const char *value;    /* how help calls the value: "PATH" */
    const char *standard; /* default as text, parsed by the option's own parser and shown; NULL: zero, nothing shown */
    const char *shown;    /* shown as the default instead of `standard` */
    double least, most;
    const char *unit;
    const char *choices;
    const char *group; /* heading in help */
    const char *help;  /* one sentence or two, no final point */
} Option;

/* Options that several verbs have; OPTIONS_TALK (run.h) and OPTION_PROGRESS (progress.h) are such too. */
#define OPTION_OVERWRITE(Type, field, heading)                                                                  \
    {                                                                                                           \
        .name = "overwrite", .letter = 'y', .kind = OPTION_FLAG, .at = offsetof(Type, field), .group = heading, \
        .help = "replace files that exist"                                                                      \
    }
#define OPTION_THREADS(Type, field, heading)                                                                          \
    {                                                                                                                 \
        .name = "threads", .kind = OPTION_WHOLE, .value = "N", .least = 1, .most = 1024, .at = offsetof(Type, field), \
        .shown = "as many as this process may use", .group = heading,                                                 \
        .help = "threads to compute with; the results are the same for any number"                                    \
    }

typedef struct {
    const char *name;
    const char *operands;              /* "A [B]" */
    const char *words;                 /* "a|b": operands that are not files, for completion; or NULL */
    const char *summary;               /* half a sentence: what it does */
    const char *description;           /* paragraphs separated by an empty line */
    const char *examples;              /* lines of "command   what it does", or NULL */
    int least, most;                   /* how many operands; most < 0: any number */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns an exit code with the sentence set */
    const Option *options;
    int count;
} Verb;

/* What parsing leaves besides the values. */
typedef struct {
    Arena *arena; /* owns what values point to */
    const char **operands;
    int operand_count;
    uint64_t given; /* bit i: option i of the table was on the command line */
} Parsed;

enum { OPTIONS_MAX = 64, OPTIONS_SHOWN = -1 };

/* Fills `values` with the defaults, then with what is given. 0; ERR_USAGE and the like with a sentence; or
 * OPTIONS_SHOWN when --help was asked for and has been printed: the verb returns that as it is. */
int options_parse(const Verb *verb, int argc, char **argv, void *values, Parsed *parsed);
void parsed_free(Parsed *parsed);
bool option_given(const Verb *verb, const Parsed *parsed, const char *name);
/* For what the table cannot say: "--fov needs a .ply output". Returns ERR_USAGE. */
int usage_error(const Verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The line that was typed, quoted for a shell: "panum match 'my film.mkv' -o out/". NULL when there is no memory. */
char *command_line(Arena *arena, int argc, char **argv);

/* The nearest of `count` names to `text`, NULL when none is near. `stride` bytes lie between the name pointers. */
const char *nearest_name(const char *text, const void *names, int count, size_t stride);

/* Strict parsers, for operands too. False: not one. */
bool parse_whole(const char *text, int64_t *out);
bool parse_real(const char *text, double *out);

void options_help(FILE *out, const Verb *verb);
void options_man(FILE *out, const Verb *verb);
/* The page of the program itself, the completion of all verbs, the README's table. */
void program_help(FILE *out, const Verb *const *verbs, int count);
void program_man(FILE *out, const Verb *const *verbs, int count);
void program_completion(FILE *out, const Verb *const *verbs, int count);
void program_markdown(FILE *out, const Verb *const *verbs, int count);
/* What is wrong with the table itself (an option without help, a default its parser refuses ...); NULL when it is
 * sound. */
const char *options_fault(const Verb *verb);
#endif
