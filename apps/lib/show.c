#include "apps/lib/show.h"
#include "apps/lib/run.h"
#include "base/json.h"
#include "tensor/files/describe.h"

#include <stdio.h>
#include <string.h>

static void print_tensor(const WeightEntry *entry) {
    char shape[WEIGHT_SHAPE_TEXT];
    printf("  %-5s %-20s %s\n", weight_dtype_name(entry->dtype),
           weight_shape_text(entry->rank, entry->size, shape, sizeof shape), show_path(entry->name));
}

int show_weights(const Weights *w, bool json, bool tensors) {
    WeightsSummary s;
    char hash[65], quoted[8300];
    weights_describe(w, &s);
    int rc = weights_sha256(w, hash);
    if (rc) return rc;
    if (json) {
        printf("{\"file\":%s,", json_quote(quoted, sizeof quoted, weights_path(w)));
        printf("\"format\":\"%s\",\"bytes\":%llu,\"sha256\":\"%s\",\"tensors\":%d,\"parameters\":%lld,",
               weights_format(w), (unsigned long long)weights_file_bytes(w), hash, s.tensors, (long long)s.parameters);
        printf("\"model\":%s,", *s.model ? json_quote(quoted, sizeof quoted, s.model) : "null");
        printf("\"licence\":%s,\"tensors_by_dtype\":{",
               s.licence ? json_quote(quoted, sizeof quoted, s.licence) : "null");
        for (int d = 0, n = 0; d < WEIGHT_DTYPES; d++)
            if (s.by_dtype[d]) printf("%s\"%s\":%d", n++ ? "," : "", weight_dtype_name((WeightDType)d), s.by_dtype[d]);
        printf("}}\n");
        return 0;
    }
    printf("%s: %s, %s, %d tensors, %lld numbers\n", show_path(weights_path(w)), weights_format(w),
           show_bytes((double)weights_file_bytes(w)), s.tensors, (long long)s.parameters);
    printf("  sha256 %s\n  tensors:", hash);
    for (int d = 0; d < WEIGHT_DTYPES; d++)
        if (s.by_dtype[d]) printf(" %d %s", s.by_dtype[d], weight_dtype_name((WeightDType)d));
    printf("\n");
    if (*weights_key(w)) printf("  found under the key %s\n", show_path(weights_key(w)));
    printf("  model: %s\n", *s.model ? show_path(s.model) : "none that is known here");
    printf("  licence: %s\n", s.licence ? show_path(s.licence) : "the file does not say; ask where it came from");
    for (int i = 0; i < weights_metadata_count(w); i++) {
        const char *key, *value;
        weights_metadata_at(w, i, &key, &value);
        /* said above */
        if (value == s.licence || (strcmp(key, "model") == 0 && strcmp(value, s.model) == 0)) continue;
        printf("  %s: %s\n", show_path(key), show_path(value));
    }
    if (weights_skipped(w))
        printf("  passed over beside the tensors: %lld value%s\n", (long long)weights_skipped(w),
               weights_skipped(w) == 1 ? "" : "s");
    for (int i = 0; tensors && i < weights_count(w); i++) print_tensor(weights_entry(w, i));
    return 0;
}
