#include "base/err.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local ErrCode last_code;
static _Thread_local char last_sentence[1024];

int fail(ErrCode code, const char *format, ...) {
    char text[sizeof last_sentence]; /* arguments may point into last_sentence */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(last_sentence, text, sizeof text);
    last_code = code;
    return (int)code;
}

int fail_prefix(const char *format, ...) {
    char text[sizeof last_sentence];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (used < 0) used = 0;
    if ((size_t)used < sizeof text) snprintf(text + used, sizeof text - (size_t)used, ": %.900s", last_sentence);
    memcpy(last_sentence, text, sizeof text);
    if (last_code == ERR_NONE) last_code = ERR_FAILED;
    return (int)last_code;
}

ErrCode err_code(void) {
    return last_code;
}

const char *err_sentence(void) {
    return last_sentence;
}

void err_clear(void) {
    last_code = ERR_NONE;
    last_sentence[0] = 0;
}

/* Length of the valid UTF-8 sequence at s, or 0. */
static int utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    int n = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (s[0] >= 0xf5) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) return 0;
    if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))) return 0;
    return n;
}

const char *err_printable(char *out, size_t size, const char *text) {
    size_t used = 0;
    const unsigned char *s = (const unsigned char *)text;
    while (*s && used + 5 < size) {
        int n = utf8_length(s);
        if (*s < 0x20 || *s == 0x7f || n == 0 || (n == 2 && s[0] == 0xc2 && s[1] < 0xa0)) {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", *s);
            s++;
        } else {
            for (int i = 0; i < n; i++) out[used++] = (char)*s++;
        }
    }
    if (size) out[used < size ? used : size - 1] = 0;
    return out;
}

void panum_bug(const char *file, int line, const char *format, ...) {
    va_list args;
    fprintf(stderr, "panum: this is a fault in the program itself, at %s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}
