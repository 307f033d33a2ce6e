#include "tests/lib/check.h"

#include "apps/lib/html.h"
#include "base/mem.h"
#include "data/read.h"

static char *take(Out **out) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(out_memory_take(out, &bytes, &size), 0);
    char *text = mem_alloc(size + 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    text[size] = 0;
    mem_free(bytes);
    return text;
}

static int count_of(const char *text, const char *what) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

/* More than the buffer, in pieces of all sizes; empty; dropped. */
static void test_out_memory(void **state) {
    (void)state;
    Out *out;
    uint8_t *bytes;
    size_t size, total = 0;
    assert_int_equal(out_memory(&out), 0);
    uint8_t piece[5000];
    for (size_t i = 0; i < sizeof piece; i++) piece[i] = (uint8_t)(i * 7);
    for (int k = 0; k < 300; k++, total += (size_t)k * 13 % 5000)
        assert_int_equal(out_write(out, piece, (size_t)(k + 1) * 13 % 5000), 0);
    assert_int_equal(out_print(out, "%d", 42), 0);
    assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
    assert_null(out);
    assert_int_equal(size, total + 2);
    assert_memory_equal(bytes + size - 2, "42", 2);
    mem_free(bytes);
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
    assert_non_null(bytes);
    assert_int_equal(size, 0);
    mem_free(bytes);
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(out_write(out, piece, 5000), 0);
    out_abort(&out);
    assert_null(out);
}

/* Names from outside can neither close a tag nor smuggle one in. */
static void test_escaping(void **state) {
    (void)state;
    Out *out;
    Html html;
    assert_int_equal(out_memory(&out), 0);
    html_begin(&html, out, "<script>alert('1')</script> & \"x\"");
    html_text(&html, "%s\x01", "</p><img src=x onerror=y>");
    const char *const heads[2] = {"a<b", "c"}, *const cells[2] = {"\"&\"", "1"};
    html_table_begin(&html, NULL, heads, 2);
    html_row(&html, cells, 2);
    html_table_end(&html);
    assert_int_equal(html_end(&html), 0);
    char *text = take(&out);
    assert_int_equal(count_of(text, "<script"), 0);
    assert_int_equal(count_of(text, "<img"), 0);
    assert_non_null(strstr(text, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;"));
    assert_non_null(strstr(text, "<td>&quot;&amp;&quot;</td><td>1</td>"));
    assert_null(strchr(text, 1));
    mem_free(text);
}

static int digit(char c) {
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return (int)(strchr(digits, c) - digits);
}

/* Pictures come back out of the page bit by bit, whatever their length modulo three; nothing refers to the outside. */
static void test_pictures(void **state) {
    (void)state;
    for (int width = 1; width < 6; width++) {
        Image image, back;
        assert_int_equal(image_make(&image, width, 2, 3, 8), 0);
        for (int i = 0; i < width * 6; i++) image.bytes[i] = (uint8_t)(i * 37 + width);
        Out *out;
        Html html;
        assert_int_equal(out_memory(&out), 0);
        html_begin(&html, out, "t");
        html_figures_begin(&html, 2);
        html_image(&html, &image, "alt", "caption");
        html_wiggle(&html, &image, &image, NULL);
        html_figures_end(&html);
        double shares[4] = {0.1, 0.2, 0.3, 0.4};
        html_parallax_histogram(&html, shares, shares, 4, 10, 500, "c");
        assert_int_equal(html_end(&html), 0);
        char *text = take(&out);
        assert_int_equal(count_of(text, "data:image/png;base64,"), 3);
        assert_int_equal(count_of(text, "http") + count_of(text, "url("), 0);
        assert_int_equal(count_of(text, "<figure>"), count_of(text, "</figure>"));
        const char *at = strstr(text, "base64,") + 7;
        uint8_t png[4096];
        size_t n = 0;
        for (; *at != '"'; at += 4) {
            uint32_t v = (uint32_t)(digit(at[0]) << 18 | digit(at[1]) << 12);
            if (at[2] != '=') v |= (uint32_t)digit(at[2]) << 6;
            if (at[3] != '=') v |= (uint32_t)digit(at[3]);
            png[n++] = (uint8_t)(v >> 16);
            if (at[2] != '=') png[n++] = (uint8_t)(v >> 8);
            if (at[3] != '=') png[n++] = (uint8_t)v;
        }
        assert_int_equal(image_read_memory("page", png, n, NULL, &back, NULL), 0);
        assert_memory_equal(back.bytes, image.bytes, (size_t)width * 6);
        image_free(&image), image_free(&back);
        mem_free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_memory),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
