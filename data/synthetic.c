/* data/synthetic.c - the stream: which scene stands at which place, drawn and photographed. */
#include "data/synthetic.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/augment.h"
#include "data/synthetic_lot.h"

struct Synthetic {
    SyntheticOptions options;
    TextureBank *bank;
};

int synthetic_open(Synthetic **synthetic, const SyntheticOptions *options) {
    *synthetic = NULL;
    if (options->disparity_limit < 0 || options->disparity_limit > 1)
        return fail(ERR_INPUT, "a disparity limit of %g is no share of the width; it is 0 to 1",
                    options->disparity_limit);
    Synthetic *s = mem_zero(1, sizeof *s);
    if (!s) return err_code();
    s->options = *options;
    if (texture_bank_make(&s->bank, rng_u64(options->seed, 0x62616e6b))) {
        mem_free(s);
        return err_code();
    }
    if (!s->options.disparity_limit) s->options.disparity_limit = 0.25;
    *synthetic = s;
    return 0;
}

void synthetic_close(Synthetic *synthetic) {
    if (synthetic) texture_bank_drop(synthetic->bank);
    mem_free(synthetic);
}

int synthetic_make(const Synthetic *s, uint64_t index, Sample *sample) {
    const SyntheticOptions *o = &s->options;
    if (sample_reserve(sample, o->width, o->height)) return err_code();
    Stage *stage = mem_alloc(sizeof *stage);
    if (!stage) return err_code();
    stage_lot(stage, s->bank, o->width, o->height, o->disparity_limit * o->width, rng_u64(o->seed, index));
    int code = stage_draw(stage, sample);
    if (!code && !o->clean) code = augment_photograph(sample, &augment_usual, rng_u64(o->seed ^ 0x70686f746f, index));
    sample->index = index;
    mem_free(stage);
    return code;
}

static int make(void *context, uint64_t index, Sample *sample) {
    return synthetic_make(context, index, sample);
}

SampleSource synthetic_source(Synthetic *synthetic) {
    return (SampleSource){make, synthetic};
}
