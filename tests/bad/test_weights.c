/* Weight files that must be survived: rows W of the specification (reliability, section 5.2). */
#include "tests/bad/weights_made.h"

#define MATCH_WEIGHTS "$P match $T/docs/demo.jpg --layout sbs --model s2m2-S --weights w.safetensors -o o.pfm"
#define VERIFY_PTH "$P model verify w.pth"
static const Case weights[] = {
    {"W0 good", weights_good, VERIFY, 0, "sound: 2 tensors", 0},
    {"W1 0 bytes", weights_0, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 7 bytes", weights_7, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length 0", weights_length_0, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length 2^63", weights_length_63, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length + 1", weights_length_more, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length 1", weights_length_1, VERIFY, 4, "header says 1 bytes", 0},
    {"W2 zero byte", weights_zero_byte, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 surrogate", weights_lone_surrogate, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 10 MB number", weights_long_number, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 metadata twice", weights_metadata_twice, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 negative", weights_offset_negative, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 2^64 - 1", weights_offset_2_64, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 24e0", weights_offset_exponent, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 unsorted", weights_unsorted, VERIFY, 0, "sound: 2 tensors", 0},
    {"W4 2^63", weights_size_2_63, VERIFY, 4, "w.safetensors: ", 0},
    {"W5 I4", weights_int4, VERIFY, 4, "I4", 0},
    {"W5 bool 7", weights_bool_7, VERIFY, 4, "is bool, but element 1 is 7", 0},
    {"W6 zero in name", weights_name_zero, VERIFY, 4, "w.safetensors: ", 0},
    {"W8 legacy", NULL, "$P model verify \"$T\"/tests/fixtures/files/legacy_p2.pth", 0, "sound: ", 0},
    {"W2 not {", weights_not_object, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 UTF-8", weights_bad_utf8, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 depth", weights_deep, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 twice", weights_twice, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 metadata", weights_metadata_number, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 begin > end", weights_backwards, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 beyond", weights_beyond, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 overlap", weights_overlap, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 hole", weights_hole, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 fraction", weights_fraction, VERIFY, 4, "w.safetensors: ", 0},
    {"W4 shape", weights_wrong_shape, VERIFY, 4, "w.safetensors: ", 0},
    {"W4 wraps", weights_wraps, VERIFY, 4, "w.safetensors: ", 0},
    {"W5 dtype", weights_dtype, VERIFY, 4, "F8_E4M3", 0},
    {"W6 name", weights_long_name, VERIFY, 4, "w.safetensors: ", 0},
    {"W6 count", weights_many, VERIFY, 4, "w.safetensors: ", 0},
    {"W7 tail", weights_tail, VERIFY, 4, "after the last tensor", 0},
    {"W9 os.system", weights_system, VERIFY_PTH, 4, "refused: pickle asks for os.system", 0},
    {"W9 eval", weights_eval, VERIFY_PTH, 4, "builtins.eval", 0},
    {"W9 INST", weights_pickle_inst, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W9 EXT1", weights_pickle_extension, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W9 PERSID", weights_pickle_persistent_text, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W9 torch.load", weights_pickle_torch_load, VERIFY_PTH, 4, "refused: pickle asks for torch.load", 0},
    {"W9 arguments", weights_pickle_arguments, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 4 GB of text", weights_pickle_long_text, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 in itself", weights_pickle_in_itself, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 good", weights_storage_good, VERIFY_PTH, 0, "sound: 1 tensor", 0},
    {"W11 upwards", weights_storage_upwards, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 absent", weights_storage_absent, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 short", weights_storage_short, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 beyond", weights_storage_beyond, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 negative", weights_stride_negative, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 huge", weights_stride_huge, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 encrypted", weights_zip_encrypted, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 other name", weights_zip_names, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 longer", weights_zip_longer, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 underflow", weights_underflow, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 memo", weights_memo, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 no stop", weights_no_stop, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 no end", weights_zip_cut, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 deflated", weights_zip_deflated, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W13 other model", weights_good, VERIFY " --model s2m2-S", 4, "does not fit model s2m2-S: 660 missing", 0},
    {"W13 says where to look", weights_good, MATCH_WEIGHTS, 4,
     "panum model verify w.safetensors --model s2m2-S lists them all", 0},
    {"W14 NaN", weights_nan, VERIFY, 4, "1 NaN", 0},
    {"W14 infinite", weights_infinite, VERIFY, 4, "1 infinite", 0},
    {"W15 LFS", weights_lfs, VERIFY, 4, "git-LFS pointer", 0},
    {"W15 HTML", weights_html, VERIFY_PTH, 4, "web page", 0},
    {"W15 gzip", weights_gzip, VERIFY_PTH, 4, "gzip", 0},
    {"W15 folder", NULL, "mkdir w.pth; " VERIFY_PTH, 4, "w.pth: is a folder", 0},
    {"W15 missing", NULL, VERIFY, 4, "w.safetensors: there is no such file", 0},
    {"W15 partial", weights_partial, VERIFY, 4, "w.safetensors: ", 0},
    /* mapped, and nothing of it is read before the names are known to be others */
    {"W16 30 GB", weights_30_gb, MATCH_WEIGHTS, 4, "missing", -1},
    {"W16 30 GB verified", weights_30_gb, VERIFY " --model s2m2-S", 4, "missing", -1},
};

static void test_weights(void **state) {
    (void)state;
    RUN_TABLE(weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, bad_set_up, bad_tear_down);
}
