#include "tests/lib/random_dot.h"
#include "base/rng.h"

#include <string.h>

/* The surface a pixel shows and where on it: the ground is the plane x_left in all of Z, the square likewise. */
typedef struct {
    bool square;
    int x; /* x_left of the surface point */
} Seen;

static bool in_square(const RandomDot *pair, int x, int y) {
    return x >= pair->square_x && x < pair->square_x + pair->square_width && y >= pair->square_y &&
           y < pair->square_y + pair->square_height;
}

/* x_right = x_left - d, and what has the larger d is nearer, so the square is asked first (or last, if it lies behind).
 */
static Seen seen_at(const RandomDot *pair, const RandomDotOptions *o, bool right, int x, int y) {
    int on_square = right ? x + o->square : x, on_ground = right ? x + o->ground : x;
    if (in_square(pair, on_square, y)) return (Seen){true, on_square};
    return (Seen){false, on_ground};
}

static uint8_t dot(const RandomDotOptions *o, Seen seen, int y, int channel) {
    uint64_t n = ((uint64_t)(seen.x + (1 << 20)) << 24 | (uint64_t)y << 4 | (uint64_t)channel << 1 | seen.square);
    return (uint8_t)(rng_u64(o->seed + 0x646f74, n) >> 56);
}

static void paint_eye(RandomDot *pair, const RandomDotOptions *o, bool right) {
    Image *image = right ? &pair->right : &pair->left;
    Map *truth = right ? &pair->truth_right : &pair->truth, *visible = right ? &pair->visible_right : &pair->visible;
    for (int y = 0; y < o->height; y++)
        for (int x = 0; x < o->width; x++) {
            int64_t i = (int64_t)y * o->width + x;
            Seen seen = seen_at(pair, o, right, x, y);
            for (int c = 0; c < o->channels; c++) image->bytes[i * o->channels + c] = dot(o, seen, y, c);
            int d = seen.square ? o->square : o->ground;
            truth->values[i] = (float)d;
            int other = right ? x + d : x - d;
            Seen there = seen_at(pair, o, !right, other, y);
            bool both = other >= 0 && other < o->width && there.square == seen.square && there.x == seen.x;
            visible->values[i] = both ? 1.0f : 0.0f;
            if (!right) pair->mask.bytes[i] = both ? 255 : 128;
        }
    truth->reference_right = visible->reference_right = right;
}

int random_dot_make(RandomDot *pair, const RandomDotOptions *options) {
    RandomDotOptions o = options ? *options : (RandomDotOptions){0};
    if (!o.width) o.width = 128;
    if (!o.height) o.height = 96;
    if (!o.square && !o.ground) o.square = 8, o.ground = -5;
    if (!o.channels) o.channels = 1;
    BUG_IF(o.square < o.ground, "the random-dot square must lie in front of its ground");
    memset(pair, 0, sizeof *pair);
    pair->square_width = o.width / 3, pair->square_height = o.height / 2;
    pair->square_x = o.width / 3, pair->square_y = o.height / 4;
    int w = o.width, h = o.height;
    if (image_make(&pair->left, w, h, o.channels, 8) || image_make(&pair->right, w, h, o.channels, 8) ||
        image_make(&pair->mask, w, h, 1, 8) || map_make(&pair->truth, w, h, MAP_DISPARITY) ||
        map_make(&pair->truth_right, w, h, MAP_DISPARITY) || map_make(&pair->visible, w, h, MAP_OCCLUSION) ||
        map_make(&pair->visible_right, w, h, MAP_OCCLUSION)) {
        random_dot_free(pair);
        return err_code();
    }
    paint_eye(pair, &o, false);
    paint_eye(pair, &o, true);
    return 0;
}

void random_dot_free(RandomDot *pair) {
    image_free(&pair->left), image_free(&pair->right), image_free(&pair->mask);
    map_free(&pair->truth), map_free(&pair->truth_right);
    map_free(&pair->visible), map_free(&pair->visible_right);
}
