#include "base/json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What may come next. */
enum { VALUE, VALUE_OR_END, KEY_OR_END, KEY, AFTER_VALUE, FINISHED, FAILED };

/* A double needs at most 17 significant digits; 19 hold any int64. Longer texts are somebody's attack. */
enum { INTEGER_DIGITS_MAX = 19, NUMBER_BYTES_MAX = 64 };

void json_begin(Json *json, const void *text, size_t size, int depth_limit) {
    *json = (Json){.text = text, .size = size, .state = VALUE};
    int most = (int)sizeof json->stack;
    json->depth_limit = depth_limit < most ? depth_limit : most;
}

static JsonKind wrong(Json *json, size_t at, const char *why) {
    json->at = at;
    json->error = why;
    json->state = FAILED;
    return JSON_ERROR;
}

static void skip_space(Json *json) {
    while (json->at < json->size) {
        uint8_t c = json->text[json->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
        json->at++;
    }
}

/* Length of the well-formed UTF-8 sequence at s with `left` bytes before the end, 0 if there is none. */
static size_t utf8_length(const uint8_t *s, size_t left) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0; /* longer than needed */
    if (s[0] == 0xed && s[1] > 0x9f) return 0; /* surrogates */
    if (s[0] == 0xf0 && s[1] < 0x90) return 0;
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0; /* beyond U+10FFFF */
    return n;
}

/* The four hex digits at s, or -1. */
static int32_t hex4(const uint8_t *s, size_t left) {
    int32_t value = 0;
    if (left < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = s[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Reads one character of a string body, escaped or not, as UTF-8 into out. Returns the bytes taken from the text, 0
 * when it is not well formed. */
static size_t read_character(const uint8_t *s, size_t left, uint8_t out[4], size_t *made) {
    if (s[0] != '\\') {
        size_t n = s[0] < 0x20 ? 0 : utf8_length(s, left);
        memcpy(out, s, n);
        *made = n;
        return n;
    }
    if (left < 2) return 0;
    *made = 1;
    switch (s[1]) {
    case '"':
    case '\\':
    case '/':
        out[0] = s[1];
        return 2;
    case 'b':
        out[0] = '\b';
        return 2;
    case 'f':
        out[0] = '\f';
        return 2;
    case 'n':
        out[0] = '\n';
        return 2;
    case 'r':
        out[0] = '\r';
        return 2;
    case 't':
        out[0] = '\t';
        return 2;
    case 'u':
        break;
    default:
        return 0;
    }
    int32_t c = hex4(s + 2, left - 2);
    size_t used = 6;
    if (c < 0 || (c >= 0xdc00 && c < 0xe000)) return 0;
    if (c >= 0xd800 && c < 0xdc00) { /* a pair of escapes makes one character */
        int32_t low = left >= 12 && s[6] == '\\' && s[7] == 'u' ? hex4(s + 8, left - 8) : -1;
        if (low < 0xdc00 || low > 0xdfff) return 0;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        used = 12;
    }
    if (c < 0x80) {
        out[0] = (uint8_t)c;
    } else if (c < 0x800) {
        *made = 2;
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *made = 3;
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (c & 63));
    } else {
        *made = 4;
        out[0] = (uint8_t)(0xf0 | c >> 18);
        out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
        out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[3] = (uint8_t)(0x80 | (c & 63));
    }
    return used;
}

/* A string at json->at, which holds the opening quote. */
static bool read_string(Json *json) {
    size_t i = json->at + 1;
    json->string = json->text + i;
    json->string_escaped = false;
    while (i < json->size && json->text[i] != '"') {
        uint8_t ignored[4];
        size_t made, used = read_character(json->text + i, json->size - i, ignored, &made);
        if (used == 0) {
            uint8_t c = json->text[i];
            wrong(json, i,
                  c == '\\'  ? "bad escape or lone surrogate in a string"
                  : c < 0x20 ? "control character in a string"
                             : "a string is not valid UTF-8");
            return false;
        }
        if (json->text[i] == '\\') json->string_escaped = true;
        i += used;
    }
    if (i >= json->size) {
        wrong(json, i, "the text ends inside a string");
        return false;
    }
    json->string_size = (size_t)(json->text + i - json->string);
    json->at = i + 1;
    return true;
}

static bool is_digit(const Json *json, size_t i) {
    return i < json->size && json->text[i] >= '0' && json->text[i] <= '9';
}

static JsonKind read_number(Json *json) {
    size_t start = json->at, i = start;
    const uint8_t *s = json->text;
    bool whole = true;
    if (s[i] == '-') i++;
    size_t first = i;
    while (is_digit(json, i) && i - first <= INTEGER_DIGITS_MAX) i++;
    if (i == first) return wrong(json, start, "not a value");
    if (i - first > INTEGER_DIGITS_MAX) return wrong(json, start, "a number has more than 19 digits");
    if (s[first] == '0' && i - first > 1) return wrong(json, start, "a number starts with 0");
    size_t last = start + NUMBER_BYTES_MAX;
    if (i < json->size && s[i] == '.') {
        whole = false;
        if (!is_digit(json, ++i)) return wrong(json, i, "a number has no digit after its point");
        while (is_digit(json, i) && i < last) i++;
    }
    if (i < json->size && (s[i] | 32) == 'e') {
        whole = false;
        i++;
        if (i < json->size && (s[i] == '+' || s[i] == '-')) i++;
        if (!is_digit(json, i)) return wrong(json, i, "a number has no digit in its exponent");
        while (is_digit(json, i) && i < last) i++;
    }
    if (i >= last) return wrong(json, start, "a number is longer than 63 characters");

    char text[NUMBER_BYTES_MAX + 1];
    memcpy(text, s + start, i - start);
    text[i - start] = 0;
    /* strtod follows the locale of the program we are linked into, JSON does not. */
    char *point = strchr(text, '.');
    const char *local = localeconv()->decimal_point;
    if (point && local[0] && !local[1]) *point = local[0];
    json->number = strtod(text, NULL);
    if (!isfinite(json->number)) return wrong(json, start, "a number is out of range");
    json->number_is_whole = false;
    if (whole) {
        uint64_t magnitude = 0; /* 19 digits are below 2^64 */
        for (size_t k = first; k < i; k++) magnitude = magnitude * 10 + (uint64_t)(s[k] - '0');
        bool negative = s[start] == '-';
        if (magnitude <= (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
            json->number_is_whole = true;
            json->whole = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
        }
    }
    json->at = i;
    json->state = AFTER_VALUE;
    return JSON_NUMBER;
}

static JsonKind read_word(Json *json, const char *word, JsonKind kind) {
    size_t n = strlen(word);
    if (json->size - json->at < n || memcmp(json->text + json->at, word, n) != 0)
        return wrong(json, json->at, "not a value");
    json->at += n;
    json->state = AFTER_VALUE;
    return kind;
}

static JsonKind open_container(Json *json, bool object) {
    if (json->depth >= json->depth_limit) return wrong(json, json->at, "nested too deep");
    json->stack[json->depth++] = object;
    json->at++;
    json->state = object ? KEY_OR_END : VALUE_OR_END;
    return object ? JSON_OBJECT : JSON_ARRAY;
}

static JsonKind close_container(Json *json) {
    json->at++;
    json->depth--;
    json->state = AFTER_VALUE;
    return json->stack[json->depth] ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static JsonKind read_key(Json *json) {
    if (json->text[json->at] != '"') return wrong(json, json->at, "a key must be a string");
    if (!read_string(json)) return JSON_ERROR;
    skip_space(json);
    if (json->at >= json->size || json->text[json->at] != ':') return wrong(json, json->at, "':' missing after a key");
    json->at++;
    skip_space(json); /* so that `at` is where the value starts */
    json->state = VALUE;
    return JSON_KEY;
}

JsonKind json_next(Json *json) {
    if (json->state == FAILED) return JSON_ERROR;
    skip_space(json);
    if (json->state == AFTER_VALUE) {
        if (json->depth == 0) {
            if (json->at < json->size) return wrong(json, json->at, "something follows the value");
            json->state = FINISHED;
            return JSON_END;
        }
        bool object = json->stack[json->depth - 1];
        if (json->at >= json->size) return wrong(json, json->at, "the text ends too early");
        if (json->text[json->at] == (object ? '}' : ']')) return close_container(json);
        if (json->text[json->at] != ',') return wrong(json, json->at, "',' or a closing bracket missing");
        json->at++;
        skip_space(json);
        json->state = object ? KEY : VALUE;
    }
    if (json->state == FINISHED) return JSON_END;
    if (json->at >= json->size) return wrong(json, json->at, "the text ends too early");
    uint8_t c = json->text[json->at];
    if (json->state == KEY_OR_END || json->state == KEY) {
        if (json->state == KEY_OR_END && c == '}') return close_container(json);
        return read_key(json);
    }
    if (json->state == VALUE_OR_END && c == ']') return close_container(json);
    switch (c) {
    case '{':
        return open_container(json, true);
    case '[':
        return open_container(json, false);
    case '"':
        if (!read_string(json)) return JSON_ERROR;
        json->state = AFTER_VALUE;
        return JSON_STRING;
    case 't':
        return read_word(json, "true", JSON_TRUE);
    case 'f':
        return read_word(json, "false", JSON_FALSE);
    case 'n':
        return read_word(json, "null", JSON_NULL);
    default:
        return read_number(json);
    }
}

int json_skip(Json *json) {
    int depth = json->depth;
    do {
        JsonKind kind = json_next(json);
        if (kind == JSON_ERROR || kind == JSON_END) return -1;
    } while (json->depth > depth);
    return 0;
}

bool json_string(const Json *json, char *out, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < json->string_size;) {
        uint8_t c[4];
        size_t made, taken = read_character(json->string + i, json->string_size - i, c, &made);
        if (taken == 0 || c[0] == 0 || size - used <= made) return false;
        memcpy(out + used, c, made);
        used += made;
        i += taken;
    }
    if (used >= size) return false;
    out[used] = 0;
    return true;
}

bool json_is(const Json *json, const char *text) {
    size_t n = strlen(text), used = 0;
    for (size_t i = 0; i < json->string_size;) {
        uint8_t c[4];
        size_t made, taken = read_character(json->string + i, json->string_size - i, c, &made);
        if (taken == 0 || n - used < made || memcmp(text + used, c, made) != 0) return false;
        used += made;
        i += taken;
    }
    return used == n;
}

char *json_quote(char *out, size_t size, const char *text) {
    if (size < 3) {
        if (size) out[0] = 0;
        return out;
    }
    size_t used = 0, left = strlen(text);
    out[used++] = '"';
    for (const uint8_t *s = (const uint8_t *)text; left > 0;) {
        char piece[8];
        size_t n = utf8_length(s, left), taken = n ? n : 1;
        if (n == 0) {
            memcpy(piece, "\xef\xbf\xbd", n = 3); /* U+FFFD, "something was here" */
        } else if (*s == '"' || *s == '\\') {
            piece[0] = '\\';
            piece[1] = (char)*s;
            n = 2;
        } else if (*s < 0x20 || *s == 0x7f) {
            n = (size_t)snprintf(piece, sizeof piece, "\\u%04x", *s);
        } else {
            memcpy(piece, s, n);
        }
        if (size - used < n + 2) break; /* keep room for the quote and the NUL */
        memcpy(out + used, piece, n);
        used += n;
        s += taken;
        left -= taken;
    }
    out[used++] = '"';
    out[used] = 0;
    return out;
}
