/* The command line: the grammar on a table of our own, then the program as people call it. */
#include "apps/lib/options.h"
#include "apps/lib/progress.h"
#include "base/err.h"
#include "tests/lib/check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    bool overwrite, meta, json;
    int verbose, model;
    int64_t frames, memory;
    double scale, fov;
    OptionLength span;
    OptionRange range;
    const char *text;
    OptionList outputs;
} Values;

#define AT(field) .at = offsetof(Values, field), .group = "All", .help = "h"
static const Option options[] = {
    {.name = "overwrite", .letter = 'y', .kind = OPTION_FLAG, AT(overwrite)},
    {.name = "json", .kind = OPTION_FLAG, AT(json)},
    {.name = "meta", .kind = OPTION_FLAG, .standard = "on", AT(meta)},
    {.name = "verbose", .letter = 'v', .kind = OPTION_COUNT, .most = 2, AT(verbose)},
    {.name = "model", .kind = OPTION_CHOICE, .value = "M", .choices = "auto|sgm|f32", .standard = "auto", AT(model)},
    {.name = "frames", .kind = OPTION_WHOLE, .value = "N", .least = 1, .most = 2147483647, .standard = "7", AT(frames)},
    {.name = "max-memory", .kind = OPTION_SIZE, .value = "S", .least = 1 << 20, AT(memory)},
    {.name = "scale", .kind = OPTION_FRACTION, .value = "S", .least = 0.01, .most = 4, .standard = "1", AT(scale)},
    {.name = "fov", .kind = OPTION_REAL, .value = "D", .least = 1, .most = 179, .unit = "deg", AT(fov)},
    {.name = "map-range", .kind = OPTION_LENGTH, .value = "L", .least = 0, .most = 1e4, AT(span)},
    {.name = "range", .kind = OPTION_RANGE, .value = "R", .least = -1e4, .most = 1e4, AT(range)},
    {.name = "text", .kind = OPTION_TEXT, .value = "T", AT(text)},
    {.name = "output", .letter = 'o', .kind = OPTION_PATHS, .value = "PATH", AT(outputs)},
};
static const Verb verb = {.name = "try",
                          .operands = "A [B]",
                          .summary = "s",
                          .description = "d",
                          .least = 1,
                          .most = 2,
                          .options = options,
                          .count = sizeof options / sizeof *options};

/* Parses a line cut at blanks; '_' stands for an empty argument. */
static int parse(const char *line, Values *values, Parsed *parsed) {
    static char text[1024];
    static char *argv[64];
    int argc = 0;
    argv[argc++] = text;
    snprintf(text, sizeof text, "try %s", line);
    static char empty[1];
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        if (word != text) argv[argc++] = strcmp(word, "_") == 0 ? empty : word;
    memset(values, 0, sizeof *values);
    return options_parse(&verb, argc, argv, values, parsed);
}

static void expect_usage(const char *line, const char *pattern) {
    Values v;
    Parsed p;
    int rc = parse(line, &v, &p);
    if (rc != ERR_USAGE || !strstr(err_sentence(), pattern))
        fail_msg("'%s' gave %d '%s', wanted 2 with '%s'", line, rc, rc ? err_sentence() : "", pattern);
    assert_null(p.arena);
}

static void test_values(void **state) {
    (void)state;
    Values v;
    Parsed p;
    assert_int_equal(
        parse("left.png -o a.pfm --output=b.npz -oc.png right.png -yvv --model sgm --frames=48 "
              "--max-memory 1.5G --scale 50% --fov 60deg --map-range 3% --range -64:32 --no-meta --text=--x",
              &v, &p),
        0);
    assert_int_equal(p.operand_count, 2);
    assert_string_equal(p.operands[1], "right.png");
    assert_int_equal(v.outputs.count, 3);
    assert_string_equal(v.outputs.items[0], "a.pfm");
    assert_string_equal(v.outputs.items[2], "c.png");
    assert_true(v.overwrite && !v.meta && v.verbose == 2 && v.model == 1);
    assert_true(v.frames == 48 && v.memory == (int64_t)3 << 29);
    assert_true(v.scale == 0.5 && v.fov == 60 && v.span.percent && v.span.value == 3);
    assert_true(v.range.given && !v.range.percent && v.range.low == -64 && v.range.high == 32);
    assert_string_equal(v.text, "--x");
    assert_true(option_given(&verb, &p, "frames") && !option_given(&verb, &p, "json"));
    parsed_free(&p);

    assert_int_equal(parse("a", &v, &p), 0); /* defaults */
    assert_true(v.meta && v.frames == 7 && v.scale == 1 && v.model == 0 && !v.range.given && !v.text);
    parsed_free(&p);
    assert_int_equal(parse("--fr 3 --map 12px --json --model=fp32 -- -o", &v, &p),
                     0); /* shortened; "--" ends options */
    assert_true(v.frames == 3 && v.span.value == 12 && !v.span.percent && v.model == 2);
    assert_string_equal(p.operands[0], "-o");
    parsed_free(&p);
    assert_int_equal(parse("- --range=-3:3%", &v, &p), 0);
    assert_true(v.range.percent && v.range.low == -3);
    assert_string_equal(p.operands[0], "-");
    parsed_free(&p);
    for (int n = 1; n <= 9; n++) { /* lists grow over every power of two */
        char line[200] = "a";
        for (int i = 0; i < n; i++) strcat(line, " -o x");
        assert_int_equal(parse(line, &v, &p), 0);
        assert_int_equal(v.outputs.count, n);
        for (int i = 0; i < n; i++) assert_string_equal(v.outputs.items[i], "x");
        parsed_free(&p);
    }
}

static void test_usage(void **state) {
    (void)state;
    /* reliability C1 */
    expect_usage("", "nothing to work on: usage is panum try [options] A [B]");
    expect_usage("a b c", "'c' is one argument too many");
    expect_usage("a _", "an argument is empty");
    expect_usage("a --overwite", "unknown option --overwite; did you mean --overwrite?");
    expect_usage("a --no-jsn", "did you mean --no-json?");
    expect_usage("a --zzzzzz", "unknown option --zzzzzz; see panum try --help");
    expect_usage("a --o", "--o could be --overwrite, --output");
    expect_usage("a --ma 3", "--ma could be --max-memory, --map-range");
    expect_usage("a --frames 3 --frames 3", "--frames was given twice");
    expect_usage("a --json --no-json", "--no-json was given twice");
    expect_usage("a -y --overwrite", "--overwrite was given twice");
    expect_usage("a -vvv", "-v was given more than 2 times");
    expect_usage("a -x", "unknown option -x");
    expect_usage("a --json=yes", "--json takes no value");
    expect_usage("a --frames", "--frames needs a value: --frames N");
    expect_usage("a -o", "-o needs a value: -o PATH");
    expect_usage("a --text --json", "--text needs a value, but --json follows (write --text=--json if that is meant)");
    expect_usage("a --text=", "--text: '' is empty");
    expect_usage("a --model s2m3", "--model: 's2m3' is not one of auto|sgm|f32");
    /* C2 */
    static const char *const bad_numbers[] = {"abc",        "1e99", "-0", "NaN", "0x10", "5px",
                                              "2147483648", "-1",   "0",  "1.5", "+3",   "inf"};
    for (size_t i = 0; i < sizeof bad_numbers / sizeof *bad_numbers; i++) {
        char line[64], want[96];
        snprintf(line, sizeof line, "a --frames %s", bad_numbers[i]);
        snprintf(want, sizeof want, "--frames: '%s' is not a whole number", bad_numbers[i]);
        expect_usage(line, want);
    }
    expect_usage("a --frames=_", "--frames: '_' is not a whole number");
    expect_usage("a --frames=", "--frames: '' is not a whole number");
    expect_usage("a --max-memory 0", "is not an amount of memory (512M, 8G)");
    expect_usage("a --max-memory -99G", "is not an amount of memory");
    expect_usage("a --max-memory 8X", "is not an amount of memory");
    expect_usage("a --max-memory 1e30", "is not an amount of memory");
    expect_usage("a --max-memory 4K", "is too little; at least 1M");
    expect_usage("a --scale 0", "is not a number from 0.01 to 4");
    expect_usage("a --scale 1,5", "--scale: '1,5' is not a number (0.5, or 50%)");
    expect_usage("a --fov 60m", "--fov: '60m' is not a number");
    expect_usage("a --fov 180", "--fov: '180' is not a number from 1deg to 179deg");
    expect_usage("a --range 3:-3", "is an empty range");
    expect_usage("a --range 3", "is not a range LO:HI");
    expect_usage("a --range -3%:3px", "is not a range LO:HI");
    expect_usage("a --range -3:1e9", "has an end that is not a number from -10000 to 10000");
    expect_usage("a --range nan:nan", "is not a range LO:HI");
    expect_usage("a --map-range 3e", "is not a length");
    Values v;
    Parsed p;
    char space[] = " 5", name[] = "--frames", file[] = "a", prog[] = "try";
    char *argv[] = {prog, file, name, space};
    assert_int_equal(options_parse(&verb, 4, argv, &v, &p), ERR_USAGE);
    assert_non_null(strstr(err_sentence(), "--frames: ' 5' is not a whole number"));
    char control[] = "--te\x1b[31m";
    char *hostile[] = {prog, file, control};
    assert_int_equal(options_parse(&verb, 3, hostile, &v, &p), ERR_USAGE);
    assert_null(strchr(err_sentence(), 0x1b));
}

static void test_argument_file(void **state) {
    (void)state;
    const char *folder = scratch_folder("arguments");
    char path[600], line[700];
    snprintf(path, sizeof path, "%s/more", folder);
    FILE *file = fopen(path, "w");
    fputs("# settings\n--frames 12 --text \"two words\"   # why\n-o 'a b.pfm' --map-range=3%\r\n@literal", file);
    fclose(file);
    snprintf(line, sizeof line, "left.png @%s --json", path);
    Values v;
    Parsed p;
    assert_int_equal(parse(line, &v, &p), 0);
    assert_true(v.frames == 12 && v.span.percent && v.json);
    assert_string_equal(v.text, "two words");
    assert_string_equal(v.outputs.items[0], "a b.pfm");
    assert_string_equal(p.operands[1], "@literal");
    parsed_free(&p);
    file = fopen(path, "w");
    fputs("--frames 1\n --text 'open", file);
    fclose(file);
    snprintf(line, sizeof line, "a @%s", path);
    expect_usage(line, "line 2: the quote is not closed");
    assert_int_equal(parse("a @/no/such/file", &v, &p), ERR_INPUT);
    assert_int_equal(parse("a -- @x", &v, &p), 0);
    assert_string_equal(p.operands[1], "@x");
    parsed_free(&p);
}

static void test_progress(void **state) {
    (void)state;
    Progress p = {.style = PROGRESS_LINES, .what = "match", .unit = "frames", .total = 142310};
    char line[256];
    /* 100 a second for a minute, then 10 a second: within the window of half a minute the rate follows */
    progress_sample(&p, 0, 0);
    for (int t = 1; t <= 600; t++) progress_sample(&p, t * 0.1, t * 10);
    assert_true(progress_rate(&p) > 99 && progress_rate(&p) < 101);
    for (int t = 1; t <= 40; t++) progress_sample(&p, 60 + t, 6000 + t * 10);
    assert_true(progress_rate(&p) > 9.9 && progress_rate(&p) < 10.1);
    progress_line(&p, "shot 4/9", line, sizeof line);
    assert_string_equal(line, "match 4% 6,400/142,310 frames 10 a second eta 3:46:31 shot 4/9");
    p.style = PROGRESS_JSON;
    progress_line(&p, "a\"b", line, sizeof line);
    assert_string_equal(line,
                        "{\"verb\":\"match\",\"unit\":\"frames\",\"done\":6400,\"total\":142310,\"per_second\":10,"
                        "\"seconds_left\":13591,\"note\":\"a\\\"b\"}");
}

/* ---- the program ---------------------------------------------------------------------------------------------------
 */

static char out[1 << 18];

static void expect_program(int code, const char *pattern, const char *arguments) {
    int rc = run_command(out, sizeof out, "%s %s", panum_program(), arguments);
    if (rc != code || !strstr(out, pattern)) fail_msg("panum %s: exit %d, said: %.2000s", arguments, rc, out);
}

static void test_program(void **state) {
    (void)state;
    expect_program(2, "panum: a verb is missing: match,", "");
    expect_program(2, "panum: unknown verb 'mtach'; did you mean match?", "mtach a b");
    expect_program(0, "panum 0.", "--version");
    expect_program(0, "usage: panum VERB", "--help");
    expect_program(0, "usage: panum match [options] A [B]", "match --frobnicate --help");
    expect_program(2, "see panum devices --help", "devices --jsno");
    expect_program(0, "\"threads\":", "devices --json");
    expect_program(1, "panum devices: standard output was closed", "devices >&-");
    expect_program(6, "panum devices: standard output: No space left", "devices >/dev/full");
    expect_program(0, "", "devices <&- 2>&-");
    /* a reader that goes away: the help is larger than the pipe's buffer only when repeated, so closed at once */
    int rc = run_command(out, sizeof out, "{ sleep 0.2; %s help --completion bash; echo \"rc $?\" >&2; } | true",
                         panum_program());
    (void)rc;
    assert_non_null(strstr(out, "panum help: standard output was closed"));
    assert_non_null(strstr(out, "rc 1"));
    /* the locale changes nothing */
    expect_program(2, "is not a number", "match a b --scale 0,5");
}

/* Every verb's table is sound, and help, man page, completion and README say the same because they come from it. */
static void test_texts(void **state) {
    (void)state;
    char verbs[64][32];
    int count = 0;
    expect_program(0, "usage:", "help");
    for (char *line = strtok(out, "\n"); line && count < 64; line = strtok(NULL, "\n"))
        if (strncmp(line, "  ", 2) == 0 && line[2] != ' ' && strncmp(line, "  panum", 7) != 0)
            sscanf(line, "%31s", verbs[count++]);
    assert_true(count >= 3);
    static char help[1 << 16], completion[1 << 17];
    assert_int_equal(run_command(completion, sizeof completion, "%s help --completion bash", panum_program()), 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(run_command(help, sizeof help, "%s %s --help", panum_program(), verbs[i]), 0);
        assert_int_equal(run_command(out, sizeof out, "%s help %s", panum_program(), verbs[i]), 0);
        assert_string_equal(help, out);
        assert_int_equal(run_command(out, sizeof out, "%s help --man %s", panum_program(), verbs[i]), 0);
        assert_non_null(strstr(out, ".SH EXIT STATUS"));
        /* every option of the help is in the page and in the completion */
        for (char *at = help; (at = strstr(at, "\n  ")); at++) {
            char *dashes = at + 3 + strspn(at + 3, " ");
            if (dashes[0] == '-' && dashes[1] != '-') dashes = strstr(dashes, "--");
            if (!dashes || strncmp(dashes, "--", 2) != 0 || dashes > strchr(at + 1, '\n')) continue;
            char name[64] = "", roff[128] = "", word[72];
            sscanf(dashes, "%63[a-z0-9-]", name);
            if (strcmp(name, "--help") == 0) continue;
            for (char *c = name; *c; c++) strcat(roff, *c == '-' ? "\\-" : (char[2]){*c, 0});
            if (!strstr(out, roff)) fail_msg("the page of %s lacks %s", verbs[i], name);
            snprintf(word, sizeof word, "%s ", name);
            if (!strstr(completion, word)) fail_msg("the completion of %s lacks %s", verbs[i], name);
        }
    }
    /* the pages as whoever reads them formats them, without a complaint */
    if (run_command(out, sizeof out, "groff --version") == 0) {
        assert_int_equal(
            run_command(
                out, sizeof out,
                "for v in $(%s help | sed -nE 's/^  ([a-z0-9]+) .*/\\1/p' | grep -v panum); do %s help --man $v; "
                "done | groff -man -ww -z",
                panum_program(), panum_program()),
            0);
        assert_string_equal(out, "");
    }
    FILE *readme = fopen("README.md", "r");
    if (!readme) {
        printf("skip: README.md is not in the current folder\n");
        skip();
    }
    static char text[1 << 18];
    text[fread(text, 1, sizeof text - 1, readme)] = 0;
    fclose(readme);
    assert_int_equal(run_command(out, sizeof out, "%s help --markdown", panum_program()), 0);
    if (!strstr(text, out)) fail_msg("the README's table of verbs is not what panum help --markdown prints:\n%s", out);
}

/* The completion, in bash. */
static void test_completion(void **state) {
    (void)state;
    if (system("command -v bash >/dev/null") != 0) {
        printf("skip: no bash here\n");
        skip();
    }
    static const struct {
        const char *words, *want;
    } cases[] = {
        {"panum dev", "devices"},
        {"panum devices --js", "--json"},
        {"panum help --completion b", "bash"},
        {"panum help dev", "devices"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_command(
            out, sizeof out,
            "bash -c 'eval \"$(%s help --completion bash)\"; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); "
            "_panum; echo ${COMPREPLY[@]}'",
            panum_program(), cases[i].words);
        if (strncmp(out, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("completing '%s' gave '%s'", cases[i].words, out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_usage),   cmocka_unit_test(test_argument_file),
        cmocka_unit_test(test_progress),   cmocka_unit_test(test_program), cmocka_unit_test(test_texts),
        cmocka_unit_test(test_completion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
