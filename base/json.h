/* base/json.h - a pull reader for JSON from outside, and an escaper for JSON we write.
 * The reader allocates nothing, never recurses, bounds depth (64 here, callers may demand less) and checks UTF-8. */
#ifndef PANUM_BASE_JSON_H
#define PANUM_BASE_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    JSON_ERROR,
    JSON_END,
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
} JsonKind;

typedef struct {
    const uint8_t *text;
    size_t size, at;       /* `at`: where the next token starts; on error, where it went wrong */
    const char *error;     /* what went wrong, NULL so far */
    const uint8_t *string; /* of the last KEY or STRING: the raw bytes between the quotes, escapes not yet undone */
    size_t string_size;
    bool string_escaped;
    double number; /* of the last NUMBER */
    bool number_is_whole;
    int64_t whole; /* exact when number_is_whole */
    int depth, depth_limit;
    uint8_t stack[64];
    uint8_t state;
} Json;

void json_begin(Json *json, const void *text, size_t size, int depth_limit);
JsonKind json_next(Json *json);
int json_skip(Json *json); /* the value that comes next, whatever it is; 0 or -1 with json->error */
/* Undoes escapes into out (NUL-terminated); false if it does not fit or holds a NUL or a lone surrogate. */
bool json_string(const Json *json, char *out, size_t size);
bool json_is(const Json *json, const char *text); /* the last KEY or STRING equals text */
/* Writes text as a JSON string with quotes into out, truncating at a character if need be; returns out. */
char *json_quote(char *out, size_t size, const char *text);
#endif
