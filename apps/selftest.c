/* apps/selftest.c - is this program right on this machine? The sign of everything it writes, the instruction sets
 * against each other, the number of threads, the files it writes and reads back. Needs no data and no weights. */
#include "apps/selftest.h"
#include "apps/lib/colour.h"
#include "apps/lib/dots.h"
#include "apps/lib/matcher.h"
#include "apps/lib/options.h"
#include "apps/lib/pair.h"
#include "apps/lib/run.h"
#include "apps/lib/verbs.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/map.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

typedef struct {
    bool json;
    int64_t seed;
    const char *device;
    TalkOptions talk;
} SelftestOptions;

#define AT(field) .at = offsetof(SelftestOptions, field)
static const Option options[] = {
    {.name = "json", .kind = OPTION_FLAG, AT(json), .group = "Output", .help = "one JSON object on standard output"},
    {.name = "seed",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 9e15,
     .standard = "1",
     AT(seed),
     .group = "What",
     .help = "seed of the random dots"},
    {.name = "device",
     .kind = OPTION_TEXT,
     .value = "WHERE",
     .standard = "cpu",
     AT(device),
     .group = "What",
     .help = "cuda or cuda:N checks a GPU too, auto if there is one: a network and all its gradients against the CPU"},
    OPTIONS_TALK(SelftestOptions, talk),
};

int app_selftest(int argc, char **argv);
const Verb verb_selftest = {
    .name = "selftest",
    .operands = "",
    .summary = "check this program on this machine: signs, instruction sets, threads, files",
    .description =
        "A random-dot pair with a square in front of the screen and a ground behind it goes through the matcher, every "
        "instruction set, several numbers of threads, and every file format that is read back. Exits with 7 when a "
        "check fails.",
    .least = 0,
    .most = 0,
    .run = app_selftest,
    .options = options,
    .count = sizeof options / sizeof *options,
};

enum { WIDTH = 160, HEIGHT = 120, FRONT = 8, BEHIND = -5 };

struct Self {
    const SelftestOptions *o;
    Image left, right;
    int checks, failures;
};

void self_check(Self *self, bool good, const char *what, const char *format, ...) {
    char evidence[200], quoted[300];
    va_list args;
    va_start(args, format);
    vsnprintf(evidence, sizeof evidence, format, args);
    va_end(args);
    if (self->o->json)
        printf("%s{\"check\":\"%s\",\"ok\":%s,\"evidence\":%s}", self->checks ? ",\n" : "", what,
               good ? "true" : "false", json_quote(quoted, sizeof quoted, evidence));
    else if (!self->o->talk.quiet || !good)
        printf("%-6s %-40s %s\n", good ? "ok" : "FAILED", what, evidence);
    self->checks++;
    self->failures += !good;
}

/* Shares of the square and of the ground (visible in both eyes) whose disparity is right within 1 px. */
static void judge(const Map *d, bool right_eye, double *square, double *ground) {
    int64_t good[2] = {0}, all[2] = {0};
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            int in_left =
                right_eye ? x + FRONT : x; /* the square stands FRONT pixels further left in the right picture */
            bool inside = in_left < WIDTH && dots_in_square(in_left, y, WIDTH, HEIGHT);
            /* ground beside the square's edge is hidden from one eye, and at the picture's edge outside the other */
            bool near = false;
            for (int k = FRONT + BEHIND - 20; k <= 20 && !inside; k++)
                near |= in_left + k >= 0 && in_left + k < WIDTH && dots_in_square(in_left + k, y, WIDTH, HEIGHT);
            if (x < 12 || x >= WIDTH - 12 || near) continue;
            float v = d->values[y * WIDTH + x];
            all[!inside]++;
            good[!inside] += fabsf(v - (float)(inside ? FRONT : BEHIND)) < 1;
        }
    *square = (double)good[0] / (double)all[0];
    *ground = (double)good[1] / (double)all[1];
}

static int match(const MatcherOptions *how, const PairOptions *pair, const Self *self, StereoMaps *maps) {
    Matcher *matcher;
    int rc = matcher_open(how, &matcher);
    if (rc) return rc;
    rc = pair_match(matcher, pair, &self->left, &self->right, maps);
    matcher_close(matcher);
    return rc;
}

static int check_signs(Self *self) {
    MatcherOptions how = matcher_defaults();
    how.model = MODEL_SGM;
    for (int eye = 0; eye < 2; eye++) {
        PairOptions pair = pair_defaults();
        pair.reference_right = eye;
        StereoMaps maps;
        int rc = match(&how, &pair, self, &maps);
        if (rc) return rc;
        double square, ground;
        judge(&maps.disparity, eye, &square, &ground);
        self_check(self, square > 0.98 && ground > 0.95,
                   eye ? "signs in the right picture" : "signs in the left picture",
                   "%.1f %% of the square at %+d px, %.1f %% of the ground at %+d px", 100 * square, FRONT,
                   100 * ground, BEHIND);
        if (!eye) {
            uint8_t front[3], behind[3];
            colour_of(PALETTE_RED_BLUE, 1, front);
            colour_of(PALETTE_RED_BLUE, -1, behind);
            self_check(self, front[0] > front[2] && behind[2] > behind[0], "colours", "in front is %s, behind is %s",
                       front[0] > front[2] ? "red" : "not red", behind[2] > behind[0] ? "blue" : "not blue");
        }
        stereo_maps_free(&maps);
    }
    return 0;
}

static int64_t differences(const Map *a, const Map *b) {
    int64_t n = (int64_t)a->width * a->height, count = 0;
    for (int64_t i = 0; i < n; i++) count += memcmp(&a->values[i], &b->values[i], sizeof(float)) != 0;
    return count;
}

/* The same bytes on every instruction set this machine has, and for any number of threads. */
static int check_same(Self *self) {
    MatcherOptions how = matcher_defaults();
    how.model = MODEL_SGM;
    how.threads = 1;
    PairOptions pair = pair_defaults();
    StereoMaps first, other;
    CpuLevel top = cpu_level();
    cpu_limit(CPU_BASE);
    int rc = match(&how, &pair, self, &first);
    for (int level = CPU_AVX2; !rc && level <= (int)top; level++) {
        cpu_limit((CpuLevel)level);
        rc = match(&how, &pair, self, &other);
        if (rc) break;
        int64_t count =
            differences(&first.disparity, &other.disparity) + differences(&first.confidence, &other.confidence);
        char what[64];
        snprintf(what, sizeof what, "sgm, %s against plain C", cpu_level_name((CpuLevel)level));
        self_check(self, count == 0, what, "%lld values differ", (long long)count);
        stereo_maps_free(&other);
    }
    cpu_limit(top);
    static const int threads[] = {2, 3, 7};
    for (size_t i = 0; !rc && i < sizeof threads / sizeof *threads; i++) {
        how.threads = threads[i];
        rc = match(&how, &pair, self, &other);
        if (rc) break;
        int64_t count =
            differences(&first.disparity, &other.disparity) + differences(&first.confidence, &other.confidence);
        char what[64];
        snprintf(what, sizeof what, "sgm, %d threads against 1", threads[i]);
        self_check(self, count == 0, what, "%lld values differ", (long long)count);
        stereo_maps_free(&other);
    }
    if (!rc || first.disparity.values) stereo_maps_free(&first);
    return rc;
}

/* The tables that command lines are read by. */
static void check_options(Self *self) {
    const char *fault = NULL;
    int at = 0;
    while (at < program_verb_count && !(fault = options_fault(program_verbs[at]))) at++;
    self_check(self, !fault, "options", "%s %s", fault ? program_verbs[at]->name : "every verb",
               fault ? fault : "is sound");
}

typedef int (*MapWriter)(Out *out, const Map *map, MapWritten *written);
static int write_d16(Out *out, const Map *map, MapWritten *written) {
    return map_write_d16(out, map, NULL, written);
}

/* Signed values of both kinds through a format and back, in memory. */
static int check_format(Self *self, const char *name, MapWriter writer, float step) {
    for (int kind = MAP_DISPARITY; kind <= (int)MAP_PARALLAX; kind++) {
        Map map, back = {0};
        int rc = map_make(&map, 37, 21, (MapKind)kind);
        if (rc) return rc;
        for (int i = 0; i < 37 * 21; i++) map.values[i] = i % 50 == 7 ? NAN : (float)(i - 388) * 0.34f;
        Out *out = NULL;
        uint8_t *bytes = NULL;
        size_t size = 0;
        rc = out_memory(&out);
        if (!rc) {
            rc = writer(out, &map, NULL);
            if (rc)
                out_abort(&out);
            else
                rc = out_memory_take(&out, &bytes, &size);
        }
        if (!rc) rc = map_read_memory(name, bytes, size, NULL, &back, NULL);
        double worst = 0;
        int wrong = 0;
        for (int i = 0; !rc && i < 37 * 21; i++) {
            if (isnan(map.values[i]) || isnan(back.values[i]))
                wrong += isnan(map.values[i]) != isnan(back.values[i]);
            else
                worst = fmax(worst, fabs((double)map.values[i] - (double)back.values[i]));
        }
        char what[64];
        snprintf(what, sizeof what, "%s, %s", name, map_kind_name((MapKind)kind));
        if (!rc) {
            self_check(self, back.kind == map.kind && worst <= (double)step && !wrong, what,
                       "back as %s, off by %.4f px at most", map_kind_name(back.kind), worst);
        }
        mem_free(bytes);
        map_free(&map);
        map_free(&back);
        if (rc) return rc;
    }
    return 0;
}

int app_selftest(int argc, char **argv) {
    SelftestOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_selftest, argc, argv, &o, &parsed);
    if (rc) return rc;
    DeviceChoice where;
    rc = device_option(&verb_selftest, o.device, &where);
    if (!rc) rc = talk_begin(&o.talk);
    Self self = {.o = &o};
    if (!rc) rc = dots_make(&self.left, &self.right, WIDTH, HEIGHT, FRONT, BEHIND, (uint64_t)o.seed);
    if (o.json) printf("{\"checks\":[\n");
    if (!rc) check_options(&self);
    if (!rc) rc = check_signs(&self);
    if (!rc) rc = check_same(&self);
    if (!rc) rc = check_format(&self, "PFM", map_write_pfm, 0);
    if (!rc) rc = check_format(&self, "16-bit PNG", write_d16, 0.5f / D16_STEPS);
    if (!rc) rc = selftest_device(&self, where);
    if (o.json)
        printf("],\"failures\":%d}\n", self.failures);
    else if (!rc && !o.talk.quiet)
        printf("%d checks, %d failed\n", self.checks, self.failures);
    if (!rc && self.failures)
        rc = fail(ERR_LIMITS, "%d of %d checks failed: results of this program on this machine cannot be trusted",
                  self.failures, self.checks);
    image_free(&self.left);
    image_free(&self.right);
    parsed_free(&parsed);
    return rc;
}
