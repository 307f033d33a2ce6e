/* JSON: what is read, what is refused and where, escapes both ways. */
#include "base/json.h"
#include "tests/lib/check.h"

#include <math.h>

static JsonKind first(Json *json, const char *text) {
    json_begin(json, text, strlen(text), 8);
    return json_next(json);
}

static void values_are_read(void **state) {
    (void)state;
    static const JsonKind want[] = {JSON_OBJECT, JSON_KEY,        JSON_ARRAY, JSON_NUMBER,    JSON_NUMBER,
                                    JSON_TRUE,   JSON_FALSE,      JSON_NULL,  JSON_ARRAY_END, JSON_KEY,
                                    JSON_OBJECT, JSON_OBJECT_END, JSON_KEY,   JSON_STRING,    JSON_OBJECT_END,
                                    JSON_END,    JSON_END};
    const char *text = " {\"a\" : [1, -2.5e-1,true ,false,null] ,\"b\":{}, \"c\":\"x\"}\r\n\t ";
    Json json;
    json_begin(&json, text, strlen(text), 2);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(json_next(&json), want[i]);
        if (i == 3) assert_true(json.number_is_whole && json.whole == 1);
        if (i == 4) assert_true(!json.number_is_whole && json.number == -0.25);
        if (i == 9) assert_true(json_is(&json, "b") && !json_is(&json, "bb") && !json_is(&json, ""));
    }
}

static void whole_numbers_are_exact(void **state) {
    (void)state;
    Json json;
    assert_int_equal(first(&json, "9223372036854775807"), JSON_NUMBER);
    assert_true(json.number_is_whole && json.whole == INT64_MAX);
    assert_int_equal(first(&json, "-9223372036854775808"), JSON_NUMBER);
    assert_true(json.number_is_whole && json.whole == INT64_MIN);
    assert_int_equal(first(&json, "9223372036854775808"), JSON_NUMBER);
    assert_false(json.number_is_whole);
    assert_int_equal(first(&json, "0.30000000000000004"), JSON_NUMBER);
    assert_true(json.number == 0.1 + 0.2);
    assert_int_equal(first(&json, "1e3"), JSON_NUMBER);
    assert_false(json.number_is_whole);
    assert_int_equal(first(&json, "-0"), JSON_NUMBER);
    assert_true(json.number_is_whole && json.whole == 0);
}

static void errors_say_where(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t at;
        const char *why;
    } cases[] = {
        {"", 0, "too early"},
        {"  ", 2, "too early"},
        {"{", 1, "too early"},
        {"[1", 2, "too early"},
        {"[1,]", 3, "not a value"},
        {"{,}", 1, "key must be"},
        {"{\"a\":1,}", 7, "key must be"},
        {"{\"a\" 1}", 5, "':'"},
        {"{1:2}", 1, "key must be"},
        {"[1 2]", 3, "','"},
        {"1 2", 2, "follows"},
        {"[}", 1, "not a value"},
        {"tru", 0, "not a value"},
        {"nul1", 0, "not a value"},
        {"NaN", 0, "not a value"},
        {"-", 0, "not a value"},
        {"+1", 0, "not a value"},
        {".5", 0, "not a value"},
        {"01", 0, "starts with 0"},
        {"1.", 2, "after its point"},
        {"1e", 2, "exponent"},
        {"1e+", 3, "exponent"},
        {"1e999", 0, "out of range"},
        {"12345678901234567890", 0, "19 digits"},
        {"0.0000000000000000000000000000000000000000000000000000000000000001", 0, "63 characters"},
        {"\"abc", 4, "inside a string"},
        {"\"a\nb\"", 2, "control character"},
        {"\"\\x\"", 1, "bad escape"},
        {"\"\\u12g4\"", 1, "bad escape"},
        {"\"\\ud800\"", 1, "surrogate"},
        {"\"\\udc00\"", 1, "surrogate"},
        {"\"\\ud800\\u0041\"", 1, "surrogate"},
        {"\"\x80\"", 1, "UTF-8"},
        {"\"\xc0\x80\"", 1, "UTF-8"},
        {"\"\xed\xa0\x80\"", 1, "UTF-8"},
        {"\"\xf4\x90\x80\x80\"", 1, "UTF-8"},
        {"\"\xe4\xb8\"", 1, "UTF-8"},
        {"[[[[[[[[[1]]]]]]]]]", 8, "too deep"},
        {"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}", 40, "too deep"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Json json;
        JsonKind kind = first(&json, cases[i].text);
        for (int steps = 0; kind != JSON_ERROR && kind != JSON_END && steps < 100; steps++) kind = json_next(&json);
        if (kind != JSON_ERROR || json.at != cases[i].at || !strstr(json.error, cases[i].why))
            fail_msg("%s: kind %d at %zu: %s", cases[i].text, kind, json.at, json.error ? json.error : "-");
        assert_int_equal(json_next(&json), JSON_ERROR); /* and stays one */
    }
}

static void a_megabyte_of_brackets_does_no_harm(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *text = test_malloc(n);
    memset(text, '[', n);
    Json json;
    json_begin(&json, text, n, 1000);
    assert_int_equal(json_skip(&json), -1);
    assert_int_equal(json.at, 64);
    test_free(text);
}

static void strings_are_unescaped(void **state) {
    (void)state;
    Json json;
    char out[64];
    assert_int_equal(first(&json, "\"\\u00e9\\ud83d\\ude00\\n\\\"\\/\\\\ \xc3\xa9\""), JSON_STRING);
    assert_true(json_string(&json, out, sizeof out));
    assert_string_equal(out, "\xc3\xa9\xf0\x9f\x98\x80\n\"/\\ \xc3\xa9");
    assert_true(json_is(&json, out));
    assert_false(json_string(&json, out, 13)); /* one too small */
    assert_true(json_string(&json, out, 14));
    assert_int_equal(first(&json, "\"a\\u0000b\""), JSON_STRING);
    assert_false(json_string(&json, out, sizeof out));
    assert_int_equal(first(&json, "\"\""), JSON_STRING);
    assert_true(json_string(&json, out, 1) && json_is(&json, ""));
}

static void quoting_is_undone_by_reading(void **state) {
    (void)state;
    Json json;
    char quoted[64], out[64];
    json_quote(quoted, sizeof quoted, "a\"\\\n\x7f\xc3\xa9");
    assert_string_equal(quoted, "\"a\\\"\\\\\\u000a\\u007f\xc3\xa9\"");
    assert_int_equal(first(&json, quoted), JSON_STRING);
    assert_true(json_string(&json, out, sizeof out));
    assert_string_equal(out, "a\"\\\n\x7f\xc3\xa9");
    assert_string_equal(json_quote(quoted, sizeof quoted, "x\xff"), "\"x\xef\xbf\xbd\"");
    assert_string_equal(json_quote(quoted, 6, "ab\xc3\xa9"), "\"ab\""); /* cut at a character */
    assert_string_equal(json_quote(quoted, 3, "ab"), "\"\"");
}

static void skipping_takes_one_value(void **state) {
    (void)state;
    const char *text = "{\"a\":[1,{\"b\":[]}],\"c\":2}";
    Json json;
    json_begin(&json, text, strlen(text), 8);
    assert_int_equal(json_next(&json), JSON_OBJECT);
    assert_int_equal(json_next(&json), JSON_KEY);
    assert_int_equal(json_skip(&json), 0);
    assert_int_equal(json_next(&json), JSON_KEY);
    assert_true(json_is(&json, "c"));
    assert_int_equal(json_skip(&json), 0);
    assert_int_equal(json_next(&json), JSON_OBJECT_END);
    assert_int_equal(json_next(&json), JSON_END);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),          cmocka_unit_test(whole_numbers_are_exact),
        cmocka_unit_test(errors_say_where),         cmocka_unit_test(a_megabyte_of_brackets_does_no_harm),
        cmocka_unit_test(strings_are_unescaped),    cmocka_unit_test(quoting_is_undone_by_reading),
        cmocka_unit_test(skipping_takes_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
