#include "data/inflate.h"
#include "base/mem.h"

#include <string.h>

enum {
    FAST = 10,           /* bits looked up at once; longer codes are walked */
    WINDOW = 32 << 10,   /* how far back deflate may refer */
    BUFFER = 3 * WINDOW, /* the window and what is handed to the sink at a time */
    LONGEST_MATCH = 258,
};

typedef struct {
    uint16_t fast[1 << FAST]; /* symbol << 4 | length, 0: a longer code */
    uint16_t count[16];       /* codes of each length */
    uint16_t symbol[288];     /* in order of their codes */
} Codes;

typedef struct {
    const uint8_t *in;
    size_t size, at;
    uint64_t bits; /* read ahead, next bit lowest */
    int have;
    bool starved; /* bits were asked for that the input does not have; they read as 0 */
    uint8_t *out;
    size_t filled, handed; /* out[handed .. filled) the sink has not seen */
    uint64_t total;
    uint32_t adler_a, adler_b;
    InflateSink sink;
    void *context;
    const char *reason;
    Codes literal, distance;
} Inflater;

static void refill(Inflater *s) {
    if (s->size - s->at >= 8) {
        uint64_t next;
        memcpy(&next, s->in + s->at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        next = __builtin_bswap64(next);
#endif
        s->bits |= next << s->have;
        int bytes = (63 - s->have) >> 3;
        s->at += (size_t)bytes;
        s->have += bytes * 8;
        s->bits &= s->have == 64 ? ~(uint64_t)0 : ((uint64_t)1 << s->have) - 1;
        return;
    }
    while (s->have <= 56 && s->at < s->size) {
        s->bits |= (uint64_t)s->in[s->at++] << s->have;
        s->have += 8;
    }
}

/* Takes n <= 16 bits. */
static unsigned take(Inflater *s, int n) {
    if (s->have < n) {
        refill(s);
        if (s->have < n) {
            s->starved = true;
            s->have = 0;
            s->bits = 0;
            return 0;
        }
    }
    unsigned value = (unsigned)(s->bits & (((uint64_t)1 << n) - 1));
    s->bits >>= n;
    s->have -= n;
    return value;
}

/* Canonical codes from their lengths (RFC 1951, 3.2.2). Incomplete sets are refused as zlib does: only a single code
 * of one bit may stand alone. */
static bool make_codes(Codes *codes, const uint8_t *lengths, int n) {
    uint16_t offset[16], next[16];
    memset(codes->count, 0, sizeof codes->count);
    memset(codes->fast, 0, sizeof codes->fast);
    for (int i = 0; i < n; i++) codes->count[lengths[i]]++;
    int used = n - codes->count[0], left = 1, longest = 0;
    codes->count[0] = 0;
    for (int length = 1; length < 16; length++) {
        left = 2 * left - codes->count[length];
        if (left < 0) return false;
        if (codes->count[length]) longest = length;
    }
    if (left > 0 && used > 0 && longest != 1) return false;
    unsigned code = 0;
    offset[1] = 0;
    next[0] = 0;
    for (int length = 1; length < 16; length++) {
        code = (code + (length > 1 ? codes->count[length - 1] : 0)) << 1;
        next[length] = (uint16_t)code;
        if (length > 1) offset[length] = (uint16_t)(offset[length - 1] + codes->count[length - 1]);
    }
    for (int i = 0; i < n; i++) {
        int length = lengths[i];
        if (!length) continue;
        codes->symbol[offset[length]++] = (uint16_t)i;
        unsigned word = next[length]++, reversed = 0;
        if (length > FAST) continue;
        for (int b = 0; b < length; b++) reversed |= (word >> b & 1) << (length - 1 - b);
        for (unsigned at = reversed; at < 1u << FAST; at += 1u << length) codes->fast[at] = (uint16_t)(i << 4 | length);
    }
    return true;
}

/* The next symbol, or -1: no such code, or the input is at its end (starved tells). */
static int take_symbol(Inflater *s, const Codes *codes) {
    if (s->have < 15) refill(s);
    unsigned entry = codes->fast[s->bits & ((1 << FAST) - 1)];
    int length = (int)(entry & 15);
    if (length && length <= s->have) {
        s->bits >>= length;
        s->have -= length;
        return (int)(entry >> 4);
    }
    int code = 0, first = 0, index = 0;
    for (length = 1; length < 16; length++) {
        if (length > s->have) {
            s->starved = true;
            return -1;
        }
        code |= (int)(s->bits >> (length - 1) & 1);
        int count = codes->count[length];
        if (code - first < count) {
            s->bits >>= length;
            s->have -= length;
            return codes->symbol[index + code - first];
        }
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    return -1;
}

/* Hands over what is new and keeps one window. */
static bool hand_over(Inflater *s) {
    const uint8_t *new_bytes = s->out + s->handed;
    size_t n = s->filled - s->handed;
    for (size_t i = 0; i < n;) { /* 5,552: the most additions before 32 bits may overflow */
        size_t stop = i + 5552 < n ? i + 5552 : n;
        for (; i < stop; i++) {
            s->adler_a += new_bytes[i];
            s->adler_b += s->adler_a;
        }
        s->adler_a %= 65521;
        s->adler_b %= 65521;
    }
    bool more = n == 0 || s->sink(s->context, new_bytes, n);
    s->total += n;
    if (s->filled > WINDOW) {
        memmove(s->out, s->out + s->filled - WINDOW, WINDOW);
        s->filled = WINDOW;
    }
    s->handed = s->filled;
    return more;
}

static InflateEnd stored_block(Inflater *s) {
    take(s, s->have & 7);
    unsigned length = take(s, 16), inverse = take(s, 16);
    if (s->starved) return INFLATE_SHORT;
    if ((length ^ inverse) != 0xffff) {
        s->reason = "a stored block's length and its complement differ";
        return INFLATE_DAMAGED;
    }
    s->at -= (size_t)s->have / 8; /* whole bytes read ahead go back */
    s->have = 0;
    s->bits = 0;
    while (length > 0) {
        if (s->filled == BUFFER && !hand_over(s)) return INFLATE_STOPPED;
        size_t n = length;
        if (n > BUFFER - s->filled) n = BUFFER - s->filled;
        if (n > s->size - s->at) n = s->size - s->at;
        if (n == 0) return INFLATE_SHORT;
        memcpy(s->out + s->filled, s->in + s->at, n);
        s->filled += n;
        s->at += n;
        length -= (unsigned)n;
    }
    return INFLATE_WHOLE;
}

static InflateEnd no_symbol(Inflater *s, const char *reason) {
    if (s->starved) return INFLATE_SHORT;
    s->reason = reason;
    return INFLATE_DAMAGED;
}

static InflateEnd coded_block(Inflater *s) {
    static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                             31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                            2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distance_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                               33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                               1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
        if (s->filled > BUFFER - LONGEST_MATCH && !hand_over(s)) return INFLATE_STOPPED;
        int symbol = take_symbol(s, &s->literal);
        if (symbol < 0) return no_symbol(s, "a code that no symbol has");
        if (symbol < 256) {
            s->out[s->filled++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 256) return INFLATE_WHOLE;
        if (symbol > 285) return no_symbol(s, "a length code beyond 285");
        unsigned length = length_base[symbol - 257] + take(s, length_bits[symbol - 257]);
        int far = take_symbol(s, &s->distance);
        if (far < 0) return no_symbol(s, "a code that no distance has");
        if (far > 29) return no_symbol(s, "a distance code beyond 29");
        size_t distance = distance_base[far] + take(s, far < 4 ? 0 : far / 2 - 1);
        if (s->starved) return INFLATE_SHORT;
        if (distance > s->filled) {
            s->reason = "a distance beyond the start of the data";
            return INFLATE_DAMAGED;
        }
        uint8_t *to = s->out + s->filled;
        const uint8_t *from = to - distance;
        if (distance >= length)
            memcpy(to, from, length);
        else
            for (unsigned i = 0; i < length; i++) to[i] = from[i];
        s->filled += length;
    }
}

static InflateEnd read_codes(Inflater *s) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[288 + 32] = {0};
    int literals = (int)take(s, 5) + 257, distances = (int)take(s, 5) + 1, listed = (int)take(s, 4) + 4;
    if (s->starved) return INFLATE_SHORT;
    if (literals > 286 || distances > 30) return no_symbol(s, "too many codes in a block's header");
    for (int i = 0; i < listed; i++) lengths[order[i]] = (uint8_t)take(s, 3);
    if (s->starved) return INFLATE_SHORT;
    if (!make_codes(&s->literal, lengths, 19)) return no_symbol(s, "a block's header with an impossible set of codes");
    memset(lengths, 0, 19);
    for (int i = 0; i < literals + distances;) {
        int symbol = take_symbol(s, &s->literal), repeat = 1;
        uint8_t value = 0;
        if (symbol < 0) return no_symbol(s, "a block's header that cannot be read");
        if (symbol < 16)
            value = (uint8_t)symbol;
        else if (symbol == 16) {
            if (i == 0) return no_symbol(s, "a block's header that repeats nothing");
            value = lengths[i - 1];
            repeat = 3 + (int)take(s, 2);
        } else
            repeat = symbol == 17 ? 3 + (int)take(s, 3) : 11 + (int)take(s, 7);
        if (s->starved) return INFLATE_SHORT;
        if (repeat > literals + distances - i) return no_symbol(s, "a block's header that repeats too often");
        while (repeat-- > 0) lengths[i++] = value;
    }
    if (lengths[256] == 0) return no_symbol(s, "a block without an end code");
    if (!make_codes(&s->distance, lengths + literals, distances) || !make_codes(&s->literal, lengths, literals))
        return no_symbol(s, "an impossible set of codes");
    return INFLATE_WHOLE;
}

static void fixed_codes(Inflater *s) {
    uint8_t lengths[288];
    for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_codes(&s->literal, lengths, 288);
    memset(lengths, 5, 32);
    make_codes(&s->distance, lengths, 32);
}

static InflateEnd all_blocks(Inflater *s) {
    for (bool last = false; !last;) {
        last = take(s, 1);
        unsigned type = take(s, 2);
        if (s->starved) return INFLATE_SHORT;
        InflateEnd end = INFLATE_WHOLE;
        if (type == 3) return no_symbol(s, "a block of type 3");
        if (type == 0) end = stored_block(s);
        if (type == 1) fixed_codes(s);
        if (type == 2) end = read_codes(s);
        if (type && end == INFLATE_WHOLE) end = coded_block(s);
        if (end != INFLATE_WHOLE) return end;
    }
    return INFLATE_WHOLE;
}

InflateEnd inflate_stream(const uint8_t *in, size_t size, InflateSink sink, void *context, InflateReport *report) {
    *report = (InflateReport){0};
    if (size < 2) return INFLATE_SHORT;
    if ((in[0] & 15) != 8 || in[0] >> 4 > 7 || (in[0] << 8 | in[1]) % 31 != 0 || (in[1] & 32)) {
        report->reason = "a zlib header that is none";
        return INFLATE_DAMAGED;
    }
    Inflater *s = mem_alloc(sizeof *s);
    uint8_t *buffer = mem_alloc(BUFFER);
    if (!s || !buffer) {
        mem_free(s);
        mem_free(buffer);
        return INFLATE_MEMORY;
    }
    memset(s, 0, offsetof(Inflater, literal));
    s->in = in;
    s->size = size;
    s->at = 2;
    s->out = buffer;
    s->adler_a = 1;
    s->sink = sink;
    s->context = context;
    InflateEnd end = all_blocks(s);
    if (end != INFLATE_STOPPED && !hand_over(s) && end == INFLATE_WHOLE) end = INFLATE_STOPPED;
    if (end == INFLATE_WHOLE) {
        s->at -= (size_t)s->have / 8;
        if (s->size - s->at < 4)
            end = INFLATE_SHORT;
        else {
            const uint8_t *p = in + s->at;
            uint32_t told = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
            report->checksum_wrong = told != (s->adler_b << 16 | s->adler_a);
            s->at += 4;
        }
    }
    report->used = s->at;
    report->reason = s->reason;
    mem_free(buffer);
    mem_free(s);
    return end;
}
