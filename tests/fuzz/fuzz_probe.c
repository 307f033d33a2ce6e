/* What ffprobe says of a film (its tags are the film's, so anybody's): refused, or facts within their limits, every
 * text ended. The parser is data/video.c's own, so that file is taken in whole. */
#include "data/video.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void check_rate(Rate rate) {
    demand(rate.over >= 0 && rate.under >= 0 && !rate.over == !rate.under && rate.over <= 1000000000);
    demand(rate.under <= 1000000000 && rate_equal(rate, rate));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    VideoFacts facts = {0};
    Probe probe = {.facts = &facts};
    char text[512];
    err_clear();
    if (parse_probe((const char *)data, size, &probe)) {
        demand(err_code() == ERR_TOOL && *err_sentence());
        return 0;
    }
    decide_tag(&probe);
    check_rate(facts.rate);
    check_rate(probe.base);
    demand(facts.bits >= 0 && facts.bits <= 32 && facts.rotation >= -360 && facts.rotation <= 360);
    demand(probe.counted >= 0 && probe.counted < 1000000000000);
    demand(isfinite(probe.stream_seconds) && isfinite(probe.format_seconds));
    demand(facts.tag == LAYOUT_AUTO || *facts.tag_source);
    demand(memchr(facts.tag_source, 0, sizeof facts.tag_source) && memchr(facts.codec, 0, sizeof facts.codec));
    if (check_size(facts.width, facts.height) == 0) {
        demand(facts.width > 0 && facts.height > 0);
        video_describe(&facts, text, sizeof text);
        demand(*text);
    }
    return 0;
}
