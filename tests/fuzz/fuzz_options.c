/* The option table against any command line: bytes cut at zeros are the arguments. Accepted or refused with a sentence;
 * never a value outside its limits. */
#include "apps/lib/options.h"
#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    bool flag, on;
    int count, choice;
    int64_t whole, size;
    double real, fraction;
    OptionLength length;
    OptionRange range;
    const char *text;
    OptionList paths;
} Values;

#define AT(field) .at = offsetof(Values, field), .group = "g", .help = "h", .value = "V"
static const Option options[] = {
    {.name = "flag", .letter = 'f', .kind = OPTION_FLAG, AT(flag)},
    {.name = "on", .kind = OPTION_FLAG, .standard = "on", AT(on)},
    {.name = "count", .letter = 'c', .kind = OPTION_COUNT, .most = 2, AT(count)},
    {.name = "choice", .kind = OPTION_CHOICE, .choices = "a|bb|ccc", .standard = "bb", AT(choice)},
    {.name = "whole", .letter = 'w', .kind = OPTION_WHOLE, .least = -5, .most = 1000, AT(whole)},
    {.name = "size", .kind = OPTION_SIZE, .least = 1024, AT(size)},
    {.name = "real", .kind = OPTION_REAL, .least = -1, .most = 1e6, .unit = "m", AT(real)},
    {.name = "fraction", .kind = OPTION_FRACTION, .least = 0, .most = 4, AT(fraction)},
    {.name = "length", .kind = OPTION_LENGTH, .least = 0, .most = 100, AT(length)},
    {.name = "range", .kind = OPTION_RANGE, .least = -64, .most = 64, AT(range)},
    {.name = "text", .kind = OPTION_TEXT, AT(text)},
    {.name = "paths", .letter = 'o', .kind = OPTION_PATHS, AT(paths)},
};
static const Verb verb = {.name = "fuzz",
                          .operands = "A...",
                          .summary = "s",
                          .description = "d",
                          .most = -1,
                          .options = options,
                          .count = sizeof options / sizeof *options};

static void require(bool condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 4096) return 0;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    char *argv[64], name[] = "fuzz";
    int argc = 0;
    argv[argc++] = name;
    for (size_t at = 0; at <= size && argc < 64; at += strlen(text + at) + 1) {
        /* help prints, and @FILE reads what it names: neither is the parser's own */
        bool skip = strcmp(text + at, "--help") == 0 || strcmp(text + at, "-h") == 0 || text[at] == '@';
        if (!skip) argv[argc++] = text + at;
    }
    Values v = {0};
    Parsed parsed;
    int rc = options_parse(&verb, argc, argv, &v, &parsed);
    if (rc) {
        require((rc == ERR_USAGE || rc == ERR_MEMORY) && *err_sentence() && !parsed.arena);
    } else {
        require(v.count >= 0 && v.count <= 2 && v.choice >= 0 && v.choice <= 2);
        require(v.whole >= -5 && v.whole <= 1000 && (v.size == 0 || v.size >= 1024));
        require(isfinite(v.real) && v.real >= -1 && v.real <= 1e6 && v.fraction >= 0 && v.fraction <= 4);
        require(v.length.value >= 0 && v.length.value <= 100);
        require(!v.range.given || (v.range.low < v.range.high && v.range.low >= -64 && v.range.high <= 64));
        require(!v.text || *v.text);
        for (int i = 0; i < v.paths.count; i++) require(*v.paths.items[i]);
        for (int i = 0; i < parsed.operand_count; i++) require(*parsed.operands[i]);
        parsed_free(&parsed);
    }
    free(text);
    return 0;
}
