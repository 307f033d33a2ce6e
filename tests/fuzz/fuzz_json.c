/* Any bytes are JSON or an error with a place and a reason; strings that are read survive being written and read again.
 */
#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void check_string(const Json *json) {
    size_t room = json->string_size + 1;
    char *text = mem_alloc(room), *again = mem_alloc(room), *quoted = mem_alloc(6 * room + 3);
    demand(text && again && quoted);
    if (json_string(json, text, room)) {
        demand(json_is(json, text));
        Json second;
        json_quote(quoted, 6 * room + 3, text);
        json_begin(&second, quoted, strlen(quoted), 1);
        demand(json_next(&second) == JSON_STRING && json_string(&second, again, room) && strcmp(text, again) == 0);
        demand(json_next(&second) == JSON_END);
    }
    mem_free(text);
    mem_free(again);
    mem_free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Json json, skipping;
    json_begin(&json, data, size, 8);
    JsonKind kind;
    size_t tokens = 0;
    do {
        kind = json_next(&json);
        demand(json.at <= size && json.depth >= 0 && json.depth <= 8 && tokens++ <= size + 1);
        if (kind == JSON_KEY || kind == JSON_STRING) {
            demand(json.string >= data && json.string + json.string_size <= data + size);
            check_string(&json);
        }
    } while (kind != JSON_ERROR && kind != JSON_END);
    demand((kind == JSON_ERROR) == (json.error != NULL));
    /* skipping the whole says the same */
    json_begin(&skipping, data, size, 8);
    bool skipped = json_skip(&skipping) == 0 && json_next(&skipping) == JSON_END;
    demand(skipped == (kind == JSON_END));
    return 0;
}
