#include "tests/lib/check.h"

#include "apps/lib/ply.h"
#include "base/mem.h"

#include <math.h>

static const char *write_text(const char *folder, const char *name, const char *text) {
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static Map map_with(int width, int height, float value) {
    Map map;
    assert_int_equal(map_make(&map, width, height, MAP_DISPARITY), 0);
    for (int i = 0; i < width * height; i++) map.values[i] = value;
    return map;
}

static void test_calibrations(void **state) {
    (void)state;
    const char *folder = scratch_folder("ply");
    Map map = map_with(741, 497, 30);
    Camera c;
    const char *middlebury = write_text(folder, "calib.txt",
                                        "cam0=[994.978 0 311.193; 0 994.978 254.877; 0 0 1]\n"
                                        "cam1=[994.978 0 342.279; 0 994.978 254.877; 0 0 1]\n"
                                        "doffs=31.086\nbaseline=193.001\nwidth=741\nheight=497\nndisp=73\n");
    assert_int_equal(camera_from_calibration(middlebury, &map, &c), 0);
    assert_true(fabs(c.focal - 994.978) < 1e-9 && fabs(c.doffs - 31.086) < 1e-9 && fabs(c.cx - 311.193) < 1e-9);
    assert_string_equal(c.unit, "mm");
    map.reference_right = true; /* the right camera has its own centre; z is the same */
    assert_int_equal(camera_from_calibration(middlebury, &map, &c), 0);
    assert_true(fabs(c.cx - 342.279) < 1e-9 && fabs(c.doffs - 31.086) < 1e-9);
    map_free(&map);
    map = map_with(1482, 994, 60); /* twice the size */
    assert_int_equal(camera_from_calibration(middlebury, &map, &c), 0);
    assert_true(fabs(c.focal - 2 * 994.978) < 1e-9 && fabs(c.doffs - 62.172) < 1e-9);
    map_free(&map);
    map = map_with(700, 497, 30);
    assert_int_equal(camera_from_calibration(middlebury, &map, &c), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "741x497"));
    const char *kitti = write_text(folder, "kitti.txt",
                                   "P0: 7.2e+02 0 6.0e+02 0 0 7.2e+02 1.8e+02 0 0 0 1 0\n"
                                   "P1: 7.2e+02 0 6.0e+02 -3.6e+02 0 7.2e+02 1.8e+02 0 0 0 1 0\n");
    assert_int_equal(camera_from_calibration(kitti, &map, &c), 0);
    assert_true(fabs(c.baseline - 0.5) < 1e-12 && c.doffs == 0);
    assert_string_equal(c.unit, "m");
    static const char *const bad[] = {"",
                                      "hello",
                                      "cam0=[1 0 2; 0 1 2; 0 0 1]",
                                      "cam0=[1 x 3]\n",
                                      "P0: 1 0 0 0 0 1 0 0 0 0 1 0\nP1: 1 0 0 5 0 1 0 0 0 0 1 0\n",
                                      "P0: 0 0 0 0 0 0 0 0 0 0 0 0\nP1: 0 0 0 0 0 0 0 0 0 0 0 0\n",
                                      "cam0=[9 0 2; 0 1 2; 0 0 1]\ncam1=[9 0 2; 0 1 2; 0 0 1]\nbaseline=1\n",
                                      "baseline=nan\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(camera_from_calibration(write_text(folder, "bad.txt", bad[i]), &map, &c), ERR_INPUT);
    map_free(&map);
}

static void test_real_calibrations(void **state) {
    (void)state;
    NEEDS_DATA("stereo_gt/eth3d_terrace_2s/calib.txt");
    Map map = map_with(713, 434, 10);
    Camera c;
    assert_int_equal(camera_from_calibration(shared_data("stereo_gt/eth3d_terrace_2s/calib.txt"), &map, &c), 0);
    assert_true(fabs(c.focal - 711.499) < 1e-9 && fabs(c.baseline - 59.9432) < 1e-9);
    map_free(&map);
    map = map_with(1241, 376, 10);
    assert_int_equal(camera_from_calibration(shared_data("stereo_gt/kitti12_000027/calib.txt"), &map, &c), 0);
    assert_true(fabs(c.baseline - 0.537166) < 1e-4);
    map_free(&map);
}

static float f32_at(const uint8_t *p) {
    uint32_t bits = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* A picture converged on a screen: what lies on it is at distance 1, what is behind farther, in front nearer; hidden
 * pixels and those without value are no points. */
static void test_points(void **state) {
    (void)state;
    StereoMaps maps = {
        .disparity = map_with(4, 2, -12), .confidence = map_with(4, 2, 0.5f), .occlusion = map_with(4, 2, 1)};
    memcpy(maps.disparity.values, (float[]){-12, -12, 0, 8, NAN, -12, 100, -40}, 32);
    maps.occlusion.values[6] = 0;
    Image image;
    assert_int_equal(image_make(&image, 4, 2, 3, 8), 0);
    for (int i = 0; i < 24; i++) image.bytes[i] = (uint8_t)(10 * i);
    Camera c;
    assert_int_equal(camera_from_fov(60, &maps.disparity, &c), 0);
    c.doffs = 16, c.baseline = 16 / c.focal; /* the 1st percentile of eight pixels is the outlier at -40 */
    Out *out;
    uint8_t *bytes;
    size_t size;
    int64_t points;
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(ply_write(out, &maps, &image, &c, &points), 0);
    assert_int_equal(points, 5); /* not the NaN, not the hidden one, not the one beyond infinity */
    assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
    const char *head = "end_header\n";
    const uint8_t *at = memmem(bytes, size, head, strlen(head));
    assert_non_null(at);
    assert_non_null(memmem(bytes, size, "element vertex 5\n", 17));
    at += strlen(head);
    assert_int_equal(size - (size_t)(at - bytes), 5 * 19);
    const float depths[5] = {4, 4, 1, 16 / 24.0f, 4};
    for (int i = 0; i < 5; i++) assert_true(fabsf(f32_at(at + 19 * i + 8) - depths[i]) < 1e-5f);
    assert_true(f32_at(at) < 0 && f32_at(at + 4) < 0); /* upper left: x and y negative */
    assert_int_equal(at[19 * 2 + 12], 60);             /* colour of pixel 2 */
    assert_true(f32_at(at + 15) == 0.5f);
    mem_free(bytes);
    /* nothing before infinity */
    for (int i = 0; i < 8; i++) maps.disparity.values[i] = -50;
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(ply_write(out, &maps, &image, &c, NULL), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "-16"));
    out_abort(&out);
    image_free(&image);
    stereo_maps_free(&maps);
}

static void test_fov(void **state) {
    (void)state;
    Map map = map_with(100, 10, -9);
    Camera c;
    assert_int_equal(camera_from_fov(90, &map, &c), 0);
    assert_true(fabs(c.focal - 50) < 1e-9 && fabs(c.doffs - 12) < 1e-2);
    assert_string_equal(c.unit, "screen distances");
    for (int i = 0; i < 1000; i++) map.values[i] = 20;
    assert_int_equal(camera_from_fov(90, &map, &c), 0);
    assert_true(c.doffs == 0);
    assert_string_equal(c.unit, "camera distances");
    assert_int_equal(camera_from_fov(0, &map, &c), ERR_USAGE);
    assert_int_equal(camera_from_fov(180, &map, &c), ERR_USAGE);
    for (int i = 0; i < 1000; i++) map.values[i] = NAN;
    assert_int_equal(camera_from_fov(90, &map, &c), ERR_INPUT);
    map_free(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calibrations),
        cmocka_unit_test(test_real_calibrations),
        cmocka_unit_test(test_points),
        cmocka_unit_test(test_fov),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
