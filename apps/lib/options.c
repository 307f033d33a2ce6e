#include "apps/lib/options.h"
#include "base/err.h"
#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENT_MAX = 32 << 10, ARGUMENTS_MAX = 1 << 20, ARGUMENT_FILE_MAX = 16 << 20 };

int usage_error(const Verb *verb, const char *format, ...) {
    char sentence[900];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return fail(ERR_USAGE, "%s; see panum %s --help", sentence, verb->name);
}

/* ---- nearest name -------------------------------------------------------------------------------------------- */

enum { NAME_MAX_LENGTH = 32 };

/* Edits (insert, delete, replace, swap of neighbours) between two short names: optimal string alignment. */
static int edit_distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NAME_MAX_LENGTH || m > NAME_MAX_LENGTH) return 2 * NAME_MAX_LENGTH;
    int rows[3][NAME_MAX_LENGTH + 1];
    for (int j = 0; j <= m; j++) rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *nearest_name(const char *text, const void *names, int count, size_t stride) {
    const char *best = NULL;
    size_t length = strlen(text);
    int limit = length < 3 ? 1 : length < 7 ? 2 : 3;
    for (int i = 0; i < count; i++) {
        const char *name;
        memcpy(&name, (const char *)names + (size_t)i * stride, sizeof name);
        int distance = edit_distance(text, name);
        if (distance < (int)length && distance <= limit) {
            limit = distance - 1;
            best = name;
        }
    }
    return best;
}

/* ---- values -------------------------------------------------------------------------------------------------- */

/* How many characters of text are a number of the grammar; 0 when it does not start with one. */
static size_t number_length(const char *text, bool whole) {
    size_t i = text[0] == '-', digits = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++) digits++;
    if (!whole) {
        if (text[i] == '.') {
            size_t after = 0;
            for (size_t j = i + 1; text[j] >= '0' && text[j] <= '9'; j++) after++;
            if (after) i += 1 + after, digits += after;
        }
        if (digits && (text[i] == 'e' || text[i] == 'E')) {
            size_t j = i + 1, exponent = 0;
            if (text[j] == '+' || text[j] == '-') j++;
            for (; text[j] >= '0' && text[j] <= '9'; j++) exponent++;
            if (exponent) i = j;
        }
    }
    return digits ? i : 0;
}

/* Reads the number at the start of text; *rest is what follows. False: none, not finite, or minus zero. */
static bool read_real(const char *text, double *out, const char **rest) {
    size_t length = number_length(text, false);
    char digits[64];
    if (length == 0 || length >= sizeof digits) return false;
    memcpy(digits, text, length);
    digits[length] = 0;
    double value = strtod(digits, NULL); /* the program never leaves the "C" locale */
    if (!isfinite(value) || (value == 0 && text[0] == '-')) return false;
    *out = value;
    *rest = text + length;
    return true;
}

bool parse_real(const char *text, double *out) {
    const char *rest;
    double value;
    if (!read_real(text, &value, &rest) || *rest) return false;
    *out = value;
    return true;
}

bool parse_whole(const char *text, int64_t *out) {
    size_t length = number_length(text, true);
    if (length == 0 || text[length]) return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno || (value == 0 && text[0] == '-')) return false;
    *out = value;
    return true;
}

static bool parse_size(const char *text, int64_t *out) {
    const char *rest;
    double value;
    if (text[0] == '-' || !read_real(text, &value, &rest)) return false;
    static const char units[] = "KMGT";
    double unit = 1;
    if (*rest) {
        const char *u = strchr(units, *rest >= 'a' && *rest <= 'z' ? *rest - 'a' + 'A' : *rest);
        if (u) {
            for (long k = u - units; k >= 0; k--) unit *= 1024;
            rest++;
            if (rest[0] == 'i' && rest[1] == 'B') rest++;
        }
        if (*rest == 'B') rest++;
        if (*rest) return false;
    }
    value *= unit;
    if (value < 1 || value > 0x1p62) return false;
    *out = (int64_t)value;
    return true;
}

/* Unit after a length: "" or "px" pixels, "%" of the width; -1: something else. */
static int length_unit(const char *rest) {
    if (!*rest || strcmp(rest, "px") == 0) return 0;
    return strcmp(rest, "%") == 0 ? 1 : -1;
}

static bool parse_length(const char *text, OptionLength *out) {
    const char *rest;
    double value;
    if (!read_real(text, &value, &rest)) return false;
    int unit = length_unit(rest);
    if (unit < 0) return false;
    *out = (OptionLength){value, unit == 1};
    return true;
}

static bool parse_range(const char *text, OptionRange *out) {
    const char *rest, *end;
    double low, high;
    if (!read_real(text, &low, &rest)) return false;
    char unit[4];
    size_t n = strcspn(rest, ":");
    if (rest[n] != ':' || n >= sizeof unit) return false;
    memcpy(unit, rest, n);
    unit[n] = 0;
    if (!read_real(rest + n + 1, &high, &end)) return false;
    int first = length_unit(unit), second = length_unit(end);
    if (first < 0 || second < 0) return false;
    if (n && first != second) return false; /* a unit before the colon must be the one behind it */
    *out = (OptionRange){low, high, second == 1, true};
    return true;
}

static int choice_index(const char *choices, const char *text) {
    size_t length = strlen(text);
    int index = 0;
    for (const char *c = choices;; index++) {
        size_t n = strcspn(c, "|");
        if (n == length && memcmp(c, text, n) == 0) return index;
        if (!c[n]) return -1;
        c += n + 1;
    }
}

/* Choices that mean another one: people type what other programs call it. */
static const char *choice_synonym(const char *text) {
    return strcmp(text, "fp32") == 0 ? "f32" : text;
}

static void limits_text(char out[96], const Option *option) {
    bool low = option->least > -1e17, high = option->most < 1e17;
    const char *unit = option->unit ? option->unit : "";
    if (low && high)
        snprintf(out, 96, "from %.10g%s to %.10g%s", option->least, unit, option->most, unit);
    else if (low)
        snprintf(out, 96, "of at least %.10g%s", option->least, unit);
    else
        snprintf(out, 96, "of at most %.10g%s", option->most, unit);
}

/* Parses text into place; 0, or -1 with `why` telling what was expected. */
static int parse_value(const Option *option, const char *text, void *place, char *why, size_t size) {
    char limits[96];
    switch (option->kind) {
    case OPTION_WHOLE: {
        int64_t value;
        if (!parse_whole(text, &value)) {
            snprintf(why, size, "is not a whole number");
            return -1;
        }
        if ((double)value < option->least || (double)value > option->most) {
            limits_text(limits, option);
            snprintf(why, size, "is not a whole number %s", limits);
            return -1;
        }
        memcpy(place, &value, sizeof value);
        return 0;
    }
    case OPTION_REAL:
    case OPTION_FRACTION: {
        double value = 0;
        const char *rest = "";
        bool read = read_real(text, &value, &rest);
        if (read && option->kind == OPTION_FRACTION && strcmp(rest, "%") == 0) {
            value /= 100;
            rest = "";
        } else if (read && option->kind == OPTION_REAL && option->unit && strcmp(rest, option->unit) == 0) {
            rest = "";
        }
        if (!read || *rest) {
            snprintf(why, size, "is not a number%s", option->kind == OPTION_FRACTION ? " (0.5, or 50%)" : "");
            return -1;
        }
        if (value < option->least || value > option->most) {
            limits_text(limits, option);
            snprintf(why, size, "is not a number %s", limits);
            return -1;
        }
        memcpy(place, &value, sizeof value);
        return 0;
    }
    case OPTION_LENGTH: {
        OptionLength value;
        if (!parse_length(text, &value) || value.value < option->least || value.value > option->most) {
            limits_text(limits, option);
            snprintf(why, size, "is not a length %s, in pixels (12) or in %% of the width (3%%)", limits);
            return -1;
        }
        memcpy(place, &value, sizeof value);
        return 0;
    }
    case OPTION_RANGE: {
        OptionRange value;
        if (!parse_range(text, &value)) {
            snprintf(why, size, "is not a range LO:HI, in pixels (-64:64) or in %% of the width (-3:3%%)");
            return -1;
        }
        if (value.low >= value.high) {
            snprintf(why, size, "is an empty range: the first number must be below the second");
            return -1;
        }
        if (value.low < option->least || value.high > option->most) {
            limits_text(limits, option);
            snprintf(why, size, "has an end that is not a number %s", limits);
            return -1;
        }
        memcpy(place, &value, sizeof value);
        return 0;
    }
    case OPTION_SIZE: {
        int64_t value;
        if (!parse_size(text, &value)) {
            snprintf(why, size, "is not an amount of memory (512M, 8G)");
            return -1;
        }
        if ((double)value < option->least) {
            snprintf(why, size, "is too little; at least %.0fM", ceil(option->least / 0x1p20));
            return -1;
        }
        memcpy(place, &value, sizeof value);
        return 0;
    }
    case OPTION_CHOICE: {
        int index = choice_index(option->choices, choice_synonym(text));
        if (index < 0) {
            snprintf(why, size, "is not one of %s", option->choices);
            return -1;
        }
        memcpy(place, &index, sizeof index);
        return 0;
    }
    case OPTION_TEXT:
    case OPTION_PATH:
        if (!*text) {
            snprintf(why, size, "is empty");
            return -1;
        }
        memcpy(place, &text, sizeof text);
        return 0;
    case OPTION_FLAG:
    case OPTION_COUNT:
    case OPTION_PATHS:
        break;
    }
    return 0;
}

/* ---- the arguments, with @FILE expanded ------------------------------------------------------------------------ */

typedef struct {
    Arena *arena;
    const char **items;
    int count, room;
} Arguments;

static int arguments_add(Arguments *list, const char *text) {
    if (strlen(text) > ARGUMENT_MAX) return fail(ERR_USAGE, "an argument is longer than 32 KiB");
    if (list->count == list->room) {
        if (list->room >= ARGUMENTS_MAX) return fail(ERR_USAGE, "more than %d arguments", ARGUMENTS_MAX);
        int room = list->room ? 2 * list->room : 64;
        const char **items = arena_alloc(list->arena, (size_t)room * sizeof *items);
        if (!items) return ERR_MEMORY;
        if (list->count) memcpy(items, list->items, (size_t)list->count * sizeof *items);
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = text;
    return 0;
}

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Cuts `text` (of `size` bytes, NUL after it) into arguments in place. */
static int split_arguments(Arguments *list, char *text, size_t size, const char *shown) {
    char *at = text, *end = text + size;
    int line = 1;
    while (at < end) {
        if (blank(*at)) {
            line += *at++ == '\n';
            continue;
        }
        if (*at == '#') {
            while (at < end && *at != '\n') at++;
            continue;
        }
        char *start = at, *to = at, quote = 0;
        int first_line = line;
        for (; at < end && (quote || !blank(*at)); at++) {
            line += *at == '\n';
            if (*at == quote)
                quote = 0;
            else if (!quote && (*at == '"' || *at == '\''))
                quote = *at;
            else
                *to++ = *at;
        }
        if (quote) return fail(ERR_USAGE, "@%s: line %d: the quote is not closed", shown, first_line);
        bool newline = at < end && *at == '\n';
        if (at < end) at++;
        *to = 0;
        int rc = arguments_add(list, start);
        if (rc) return rc;
        line += newline;
    }
    return 0;
}

static int add_argument_file(Arguments *list, const char *path) {
    char shown[256];
    err_printable(shown, sizeof shown, path);
    uint8_t *bytes;
    size_t size;
    int rc = file_read(path, ARGUMENT_FILE_MAX, &bytes, &size);
    if (rc) return rc;
    char *text = arena_alloc(list->arena, size + 1);
    if (text) memcpy(text, bytes, size);
    mem_free(bytes);
    if (!text) return ERR_MEMORY;
    if (memchr(text, 0, size)) return fail(ERR_USAGE, "@%s: holds a zero byte; it must be plain text", shown);
    return split_arguments(list, text, size, shown);
}

static int gather_arguments(Arguments *list, int argc, char **argv) {
    bool options = true;
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) options = false;
        bool file = options && argv[i][0] == '@' && argv[i][1];
        int rc = file ? add_argument_file(list, argv[i] + 1) : arguments_add(list, argv[i]);
        if (rc) return rc;
    }
    return 0;
}

/* ---- parsing -------------------------------------------------------------------------------------------------- */

typedef struct {
    const Verb *verb;
    char *values;
    Parsed *parsed;
} Parser;

/* The option that `name` (of `length` characters) means: by its whole name, with "no-" for flags, or by a unique
 * beginning. NULL with the error set. */
static const Option *find_option(const Verb *verb, const char *name, size_t length, bool *negated) {
    const Option *found = NULL;
    char candidates[256] = "";
    int matches = 0;
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        for (int no = 0; no <= (option->kind == OPTION_FLAG); no++) {
            char full[64];
            snprintf(full, sizeof full, "%s%s", no ? "no-" : "", option->name);
            if (strncmp(full, name, length) != 0) continue;
            if (strlen(full) == length) {
                *negated = no;
                return option;
            }
            matches++;
            found = option;
            *negated = no;
            size_t used = strlen(candidates);
            if (used < sizeof candidates - 40)
                snprintf(candidates + used, sizeof candidates - used, "%s--%s", used ? ", " : "", full);
        }
    }
    if (matches == 1) return found;
    char typed[64], shown[96];
    snprintf(typed, sizeof typed, "%.*s", (int)(length < 60 ? length : 60), name);
    err_printable(shown, sizeof shown, typed);
    if (matches > 1) {
        usage_error(verb, "--%s could be %s", shown, candidates);
        return NULL;
    }
    bool no = strncmp(typed, "no-", 3) == 0;
    const char *nearest = NULL;
    if (verb->count)
        nearest = nearest_name(no ? typed + 3 : typed, &verb->options[0].name, verb->count, sizeof(Option));
    if (nearest)
        usage_error(verb, "unknown option --%s; did you mean --%s%s?", shown, no ? "no-" : "", nearest);
    else
        usage_error(verb, "unknown option --%s", shown);
    return NULL;
}

static int store(Parser *p, const Option *option, const char *text, const char *typed) {
    int index = (int)(option - p->verb->options);
    uint64_t bit = (uint64_t)1 << index;
    bool again = p->parsed->given & bit;
    p->parsed->given |= bit;
    void *place = p->values + option->at;
    if (option->kind == OPTION_COUNT) {
        int value;
        memcpy(&value, place, sizeof value);
        value++;
        if (value > option->most) return usage_error(p->verb, "%s was given more than %.0f times", typed, option->most);
        memcpy(place, &value, sizeof value);
        return 0;
    }
    if (option->kind == OPTION_PATHS) {
        if (!*text) return usage_error(p->verb, "%s: '' is empty", typed);
        OptionList list;
        memcpy(&list, place, sizeof list);
        if ((list.count & (list.count - 1)) == 0) { /* powers of two are when it is full */
            const char **items =
                arena_alloc(p->parsed->arena, (size_t)(list.count ? 2 * list.count : 1) * sizeof *items);
            if (!items) return ERR_MEMORY;
            if (list.count) memcpy(items, list.items, (size_t)list.count * sizeof *items);
            list.items = items;
        }
        list.items[list.count++] = text;
        memcpy(place, &list, sizeof list);
        return 0;
    }
    if (again) return usage_error(p->verb, "%s was given twice", typed);
    char why[256], shown[200];
    if (parse_value(option, text, place, why, sizeof why))
        return usage_error(p->verb, "%s: '%s' %s", typed, err_printable(shown, sizeof shown, text), why);
    return 0;
}

static int store_flag(Parser *p, const Option *option, bool value, const char *typed) {
    uint64_t bit = (uint64_t)1 << (option - p->verb->options);
    if (p->parsed->given & bit) return usage_error(p->verb, "%s was given twice", typed);
    p->parsed->given |= bit;
    memcpy(p->values + option->at, &value, sizeof value);
    return 0;
}

static bool takes_value(const Option *option) {
    return option->kind != OPTION_FLAG && option->kind != OPTION_COUNT;
}

/* One "--name[=value]"; *used tells whether `next` was taken as its value. */
static int parse_long(Parser *p, const char *text, const char *next, bool *used) {
    size_t length = strcspn(text, "=");
    bool negated = false;
    const Option *option = find_option(p->verb, text, length, &negated);
    if (!option) return ERR_USAGE;
    char typed[64];
    snprintf(typed, sizeof typed, "--%s%s", negated ? "no-" : "", option->name);
    const char *value = text[length] ? text + length + 1 : NULL;
    if (!takes_value(option)) {
        if (value) return usage_error(p->verb, "%s takes no value", typed);
        if (option->kind == OPTION_FLAG) return store_flag(p, option, !negated, typed);
        return store(p, option, NULL, typed);
    }
    if (!value) {
        if (!next) return usage_error(p->verb, "%s needs a value: %s %s", typed, typed, option->value);
        if (next[0] == '-' && next[1] == '-')
            return usage_error(p->verb, "%s needs a value, but %s follows (write %s=%s if that is meant)", typed, next,
                               typed, next);
        value = next;
        *used = true;
    }
    return store(p, option, value, typed);
}

/* One cluster of short options, "-qy" or "-oFILE". */
static int parse_short(Parser *p, const char *text, const char *next, bool *used) {
    for (const char *c = text; *c; c++) {
        const Option *option = NULL;
        for (int i = 0; i < p->verb->count; i++)
            if (p->verb->options[i].letter == *c) option = &p->verb->options[i];
        char one[2] = {*c, 0}, shown[16];
        if (!option) return usage_error(p->verb, "unknown option -%s", err_printable(shown, sizeof shown, one));
        char typed[64];
        snprintf(typed, sizeof typed, "-%c", *c);
        int rc;
        if (option->kind == OPTION_FLAG) {
            rc = store_flag(p, option, true, typed);
        } else if (option->kind == OPTION_COUNT) {
            rc = store(p, option, NULL, typed);
        } else {
            if (c[1]) return store(p, option, c + 1, typed);
            if (!next) return usage_error(p->verb, "%s needs a value: %s %s", typed, typed, option->value);
            *used = true;
            return store(p, option, next, typed);
        }
        if (rc) return rc;
    }
    return 0;
}

static void set_defaults(const Verb *verb, char *values) {
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        if (!option->standard) continue;
        if (option->kind == OPTION_FLAG) {
            bool on = strcmp(option->standard, "on") == 0;
            memcpy(values + option->at, &on, sizeof on);
            continue;
        }
        char why[256];
        BUG_IF(parse_value(option, option->standard, values + option->at, why, sizeof why), "default of --%s: '%s' %s",
               option->name, option->standard, why);
    }
}

static int parse_all(Parser *p, const Arguments *list) {
    const char **operands = arena_alloc(p->parsed->arena, ((size_t)list->count + 1) * sizeof *operands);
    if (!operands) return ERR_MEMORY;
    p->parsed->operands = operands;
    bool options = true;
    for (int i = 0; i < list->count; i++) {
        const char *text = list->items[i], *next = i + 1 < list->count ? list->items[i + 1] : NULL;
        bool used = false;
        int rc = 0;
        if (options && strcmp(text, "--") == 0)
            options = false;
        else if (options && text[0] == '-' && text[1] == '-')
            rc = parse_long(p, text + 2, next, &used);
        else if (options && text[0] == '-' && text[1])
            rc = parse_short(p, text + 1, next, &used);
        else
            operands[p->parsed->operand_count++] = text;
        if (rc) return rc;
        i += used;
    }
    int count = p->parsed->operand_count;
    for (int i = 0; i < count; i++)
        if (!*operands[i]) return usage_error(p->verb, "an argument is empty");
    if (count < p->verb->least)
        return usage_error(p->verb, "%s: usage is panum %s [options] %s",
                           count ? "an argument is missing" : "nothing to work on", p->verb->name, p->verb->operands);
    char shown[200];
    if (p->verb->most >= 0 && count > p->verb->most)
        return usage_error(p->verb, "'%s' is one argument too many: usage is panum %s [options]%s%s",
                           err_printable(shown, sizeof shown, operands[p->verb->most]), p->verb->name,
                           *p->verb->operands ? " " : "", p->verb->operands);
    return 0;
}

int options_parse(const Verb *verb, int argc, char **argv, void *values, Parsed *parsed) {
    memset(parsed, 0, sizeof *parsed);
    BUG_IF(verb->count > OPTIONS_MAX, "panum %s has more than %d options", verb->name, OPTIONS_MAX);
    set_defaults(verb, values);
    /* --help wins over everything else on the line, so that it works while the line is still wrong. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            options_help(stdout, verb);
            return OPTIONS_SHOWN;
        }
    parsed->arena = arena_make();
    if (!parsed->arena) return ERR_MEMORY;
    Arguments list = {parsed->arena, NULL, 0, 0};
    Parser parser = {verb, values, parsed};
    int rc = gather_arguments(&list, argc, argv);
    if (!rc) rc = parse_all(&parser, &list);
    if (rc) parsed_free(parsed);
    return rc;
}

void parsed_free(Parsed *parsed) {
    arena_drop(parsed->arena);
    memset(parsed, 0, sizeof *parsed);
}

bool option_given(const Verb *verb, const Parsed *parsed, const char *name) {
    for (int i = 0; i < verb->count; i++)
        if (strcmp(verb->options[i].name, name) == 0) return parsed->given >> i & 1;
    panum_bug(__FILE__, __LINE__, "panum %s has no option --%s", verb->name, name);
}

const char *options_fault(const Verb *verb) {
    static char fault[300];
    if (verb->count > OPTIONS_MAX) return "too many options";
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        const char *why = NULL;
        char wrong[256], place[64];
        if (!option->help || !*option->help || !option->group)
            why = "has no help or group";
        else if (option->help[strlen(option->help) - 1] == '.')
            why = "ends its help with a point";
        else if (takes_value(option) && !option->value)
            why = "does not say what its value is called";
        else if (option->kind == OPTION_CHOICE && !option->choices)
            why = "has no choices";
        else if (strncmp(option->name, "no-", 3) == 0)
            why = "is named in the negative";
        else if (strlen(option->name) > NAME_MAX_LENGTH - 4)
            why = "has too long a name";
        else if (option->standard && option->kind != OPTION_FLAG &&
                 parse_value(option, option->standard, place, wrong, sizeof wrong))
            why = "has a default its own parser refuses";
        for (int j = 0; j < i && !why; j++) {
            if (strcmp(verb->options[j].name, option->name) == 0) why = "is there twice";
            if (option->letter && verb->options[j].letter == option->letter) why = "shares its letter";
            if (verb->options[j].at == option->at) why = "shares its value";
        }
        if (why) {
            snprintf(fault, sizeof fault, "--%s %s", option->name, why);
            return fault;
        }
    }
    return NULL;
}
