/* base/deflate.c - RFC 1951 and 1950, both ways.
 *
 * Inflate never reads past its input nor writes past its output, and refuses what zlib refuses (over-subscribed and
 * incomplete codes, symbols 286, 287, 30, 31, distances before the start). stb's inflate reads zeros past the end of
 * its input, fails on valid raw streams that end without trailing bytes, and copies uninitialised memory for distance
 * symbols 30 and 31: hence our own.
 * Deflate is hash chains with one symbol of lazy matching and the cheapest of stored, fixed and dynamic blocks. */
#include "base/deflate.h"
#include "base/mem.h"

#include <string.h>

enum { WINDOW = 32768, LITERALS = 288, DISTANCES = 32, CODE_LENGTHS = 19, BITS_MAX = 15, END_OF_BLOCK = 256 };

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                        2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                           33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t distance_bits[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                          6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
static const uint8_t code_length_order[CODE_LENGTHS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                        11, 4,  12, 3, 13, 2, 14, 1, 15};

static void fixed_lengths(uint8_t lengths[LITERALS]) {
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
}

static unsigned reverse_bits(unsigned code, int n) {
    unsigned out = 0;
    for (int i = 0; i < n; i++) out |= (code >> i & 1) << (n - 1 - i);
    return out;
}

/* Goes on from `sum`, which starts at 1. */
static uint32_t adler32(uint32_t sum, const uint8_t *data, size_t bytes) {
    uint32_t a = sum & 0xffff, b = sum >> 16;
    while (bytes) {
        size_t n = bytes < 5552 ? bytes : 5552; /* the most that cannot overflow b */
        for (size_t i = 0; i < n; i++) {
            a += data[i];
            b += a;
        }
        a %= 65521;
        b %= 65521;
        data += n;
        bytes -= n;
    }
    return b << 16 | a;
}

/* ---- inflate ---- */

enum {
    FAST = 10,               /* bits looked up at once; longer codes are counted up to */
    STREAM_ROOM = 3 * WINDOW /* the window and what is handed to the sink at a time */
};

typedef struct {
    uint16_t fast[1 << FAST]; /* symbol << 4 | length, 0: a longer code */
    uint16_t count[BITS_MAX + 1];
    uint16_t symbol[LITERALS]; /* in order of their codes */
} Code;

/* Unpacks into out[0 .. room). With a sink that is a window which slides on when it is full; without one it is all
 * the room there is. */
typedef struct {
    const uint8_t *in;
    size_t size, at;
    uint64_t bits; /* read ahead, next one lowest */
    int have;
    bool starved; /* bits were asked for that the input does not have; they read as 0 */
    uint8_t *out;
    size_t room, filled, handed; /* out[handed .. filled) the sink has not seen */
    uint32_t adler;              /* of what the sink has seen */
    InflateSink sink;
    void *context;
    const char *reason;
    Code literals, distances;
} Inflate;

static void refill(Inflate *z) {
    if (z->size - z->at >= 8) {
        uint64_t next;
        memcpy(&next, z->in + z->at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        next = __builtin_bswap64(next);
#endif
        z->bits |= next << z->have;
        int bytes = (63 - z->have) >> 3;
        z->at += (size_t)bytes;
        z->have += bytes * 8;
        z->bits &= z->have == 64 ? ~(uint64_t)0 : ((uint64_t)1 << z->have) - 1;
        return;
    }
    while (z->have <= 56 && z->at < z->size) {
        z->bits |= (uint64_t)z->in[z->at++] << z->have;
        z->have += 8;
    }
}

/* Takes n <= 16 bits. */
static unsigned take_bits(Inflate *z, int n) {
    if (z->have < n) {
        refill(z);
        if (z->have < n) {
            z->starved = true;
            z->have = 0;
            z->bits = 0;
            return 0;
        }
    }
    unsigned value = (unsigned)(z->bits & (((uint64_t)1 << n) - 1));
    z->bits >>= n;
    z->have -= n;
    return value;
}

/* Whole bytes read ahead go back; bits of a byte begun are dropped. */
static void return_bytes(Inflate *z) {
    z->at -= (size_t)z->have / 8;
    z->have = 0;
    z->bits = 0;
}

/* Canonical codes from their lengths (RFC 1951, 3.2.2). An over-subscribed set is refused, and an incomplete one but
 * where `incomplete_ok`: no code at all, or a single one of one bit. */
static bool make_code(Code *code, const uint8_t *lengths, int n, bool incomplete_ok) {
    unsigned first[BITS_MAX + 2], offset[BITS_MAX + 2];
    memset(code, 0, sizeof *code);
    for (int i = 0; i < n; i++) code->count[lengths[i]]++;
    int used = n - code->count[0];
    code->count[0] = 0;
    int left = 1;
    for (int k = 1; k <= BITS_MAX; k++) {
        left = left * 2 - code->count[k];
        if (left < 0) return false;
    }
    if (left > 0 && !(incomplete_ok && (used == 0 || (used == 1 && code->count[1] == 1)))) return false;
    first[1] = offset[1] = 0;
    for (int k = 1; k <= BITS_MAX; k++) {
        first[k + 1] = (first[k] + code->count[k]) << 1;
        offset[k + 1] = offset[k] + code->count[k];
    }
    for (int i = 0; i < n; i++) {
        int k = lengths[i];
        if (k == 0) continue;
        code->symbol[offset[k]++] = (uint16_t)i;
        unsigned bits = first[k]++;
        if (k > FAST) continue;
        for (unsigned j = reverse_bits(bits, k); j < 1u << FAST; j += 1u << k) code->fast[j] = (uint16_t)(i << 4 | k);
    }
    return true;
}

/* The next symbol, or -1: no such code, or the input is at its end (starved tells). */
static int take_symbol(Inflate *z, const Code *code) {
    if (z->have < BITS_MAX) refill(z);
    unsigned entry = code->fast[z->bits & ((1 << FAST) - 1)];
    int length = (int)(entry & 15);
    if (length && length <= z->have) {
        z->bits >>= length;
        z->have -= length;
        return (int)(entry >> 4);
    }
    int value = 0, first = 0, index = 0;
    for (int k = 1; k <= BITS_MAX; k++) {
        if (k > z->have) {
            z->starved = true;
            return -1;
        }
        value |= (int)(z->bits >> (k - 1) & 1);
        int n = code->count[k];
        if (value - first < n) {
            z->bits >>= k;
            z->have -= k;
            return code->symbol[index + value - first];
        }
        index += n;
        first = (first + n) << 1;
        value <<= 1;
    }
    return -1;
}

/* The sink gets what is new, and one window stays. False: the sink wants no more, or there is none. */
static bool hand_over(Inflate *z) {
    if (!z->sink) return false;
    const uint8_t *fresh = z->out + z->handed;
    size_t n = z->filled - z->handed;
    z->adler = adler32(z->adler, fresh, n);
    bool more = n == 0 || z->sink(z->context, fresh, n);
    if (z->filled > WINDOW) {
        memmove(z->out, z->out + z->filled - WINDOW, WINDOW);
        z->filled = WINDOW;
    }
    z->handed = z->filled;
    return more;
}

static InflateEnd damaged(Inflate *z, const char *reason) {
    if (z->starved) return INFLATE_SHORT;
    z->reason = reason;
    return INFLATE_DAMAGED;
}

static InflateEnd stored_block(Inflate *z) {
    take_bits(z, z->have & 7);
    unsigned length = take_bits(z, 16), inverse = take_bits(z, 16);
    if (z->starved) return INFLATE_SHORT;
    if ((length ^ inverse) != 0xffff) return damaged(z, "a stored block's length and its complement differ");
    return_bytes(z);
    while (length > 0) {
        if (z->filled == z->room && !hand_over(z)) return INFLATE_STOPPED;
        size_t n = length;
        if (n > z->room - z->filled) n = z->room - z->filled;
        if (n > z->size - z->at) n = z->size - z->at;
        if (n == 0) return INFLATE_SHORT;
        memcpy(z->out + z->filled, z->in + z->at, n);
        z->filled += n;
        z->at += n;
        length -= (unsigned)n;
    }
    return INFLATE_WHOLE;
}

static InflateEnd coded_block(Inflate *z) {
    for (;;) {
        int symbol = take_symbol(z, &z->literals);
        if (symbol < 0) return damaged(z, "a code that no symbol has");
        if (symbol < END_OF_BLOCK) {
            if (z->filled == z->room && !hand_over(z)) return INFLATE_STOPPED;
            z->out[z->filled++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == END_OF_BLOCK) return INFLATE_WHOLE;
        symbol -= END_OF_BLOCK + 1;
        if (symbol >= 29) return damaged(z, "a length code beyond 285");
        size_t length = length_base[symbol] + take_bits(z, length_bits[symbol]);
        symbol = take_symbol(z, &z->distances);
        if (symbol < 0) return damaged(z, "a code that no distance has");
        if (symbol >= 30) return damaged(z, "a distance code beyond 29");
        size_t distance = distance_base[symbol] + take_bits(z, distance_bits[symbol]);
        if (z->starved) return INFLATE_SHORT;
        if (distance > z->filled) return damaged(z, "a distance beyond the start of the data");
        if (length > z->room - z->filled && !hand_over(z)) return INFLATE_STOPPED;
        uint8_t *to = z->out + z->filled;
        const uint8_t *from = to - distance;
        if (distance >= length)
            memcpy(to, from, length);
        else
            for (size_t i = 0; i < length; i++) to[i] = from[i]; /* a run repeats what it just wrote */
        z->filled += length;
    }
}

static InflateEnd read_codes(Inflate *z) {
    uint8_t lengths[LITERALS + DISTANCES] = {0};
    int literals = (int)take_bits(z, 5) + 257, distances = (int)take_bits(z, 5) + 1, listed = (int)take_bits(z, 4) + 4;
    if (z->starved) return INFLATE_SHORT;
    if (literals > 286 || distances > 30) return damaged(z, "too many codes in a block's header");
    for (int i = 0; i < listed; i++) lengths[code_length_order[i]] = (uint8_t)take_bits(z, 3);
    if (z->starved) return INFLATE_SHORT;
    if (!make_code(&z->literals, lengths, CODE_LENGTHS, false))
        return damaged(z, "a block's header with an impossible set of codes");
    memset(lengths, 0, sizeof lengths);
    int all = literals + distances;
    for (int i = 0; i < all;) {
        int symbol = take_symbol(z, &z->literals);
        if (symbol < 0) return damaged(z, "a block's header that cannot be read");
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 16 && i == 0) return damaged(z, "a block's header that repeats nothing");
        uint8_t value = symbol == 16 ? lengths[i - 1] : 0;
        int repeat = (symbol == 18 ? 11 : 3) + (int)take_bits(z, symbol == 16 ? 2 : symbol == 17 ? 3 : 7);
        if (z->starved) return INFLATE_SHORT;
        if (repeat > all - i) return damaged(z, "a block's header that repeats too often");
        memset(lengths + i, value, (size_t)repeat);
        i += repeat;
    }
    if (lengths[END_OF_BLOCK] == 0) return damaged(z, "a block without an end code");
    if (!make_code(&z->distances, lengths + literals, distances, true) ||
        !make_code(&z->literals, lengths, literals, true))
        return damaged(z, "an impossible set of codes");
    return INFLATE_WHOLE;
}

static void fixed_codes(Inflate *z) {
    uint8_t lengths[LITERALS];
    fixed_lengths(lengths);
    make_code(&z->literals, lengths, LITERALS, false);
    memset(lengths, 5, DISTANCES);
    make_code(&z->distances, lengths, DISTANCES, false);
}

/* Runs over all blocks; after INFLATE_WHOLE z->at is the first byte not used. */
static InflateEnd inflate_blocks(Inflate *z) {
    for (bool last = false; !last;) {
        last = take_bits(z, 1);
        unsigned type = take_bits(z, 2);
        if (z->starved) return INFLATE_SHORT;
        if (type == 3) return damaged(z, "a block of type 3");
        InflateEnd end = INFLATE_WHOLE;
        if (type == 0) end = stored_block(z);
        if (type == 1) fixed_codes(z);
        if (type == 2) end = read_codes(z);
        if (type && end == INFLATE_WHOLE) end = coded_block(z);
        if (end != INFLATE_WHOLE) return end;
    }
    return_bytes(z);
    return INFLATE_WHOLE;
}

bool inflate_raw(const uint8_t *data, size_t bytes, uint8_t *out, size_t size) {
    Inflate z;
    memset(&z, 0, offsetof(Inflate, literals));
    z.in = data;
    z.size = bytes;
    z.out = out;
    z.room = size;
    return inflate_blocks(&z) == INFLATE_WHOLE && z.filled == size && z.at == bytes;
}

InflateEnd inflate_zlib(const uint8_t *in, size_t size, InflateSink sink, void *context, InflateReport *report) {
    *report = (InflateReport){0};
    if (size < 2) return INFLATE_SHORT;
    if ((in[0] & 15) != 8 || in[0] >> 4 > 7 || (in[0] << 8 | in[1]) % 31 != 0 || (in[1] & 32)) {
        report->reason = "a zlib header that is none";
        return INFLATE_DAMAGED;
    }
    Inflate z;
    memset(&z, 0, offsetof(Inflate, literals));
    z.in = in;
    z.size = size;
    z.at = 2;
    z.out = mem_alloc(STREAM_ROOM);
    z.room = STREAM_ROOM;
    z.adler = 1;
    z.sink = sink;
    z.context = context;
    if (!z.out) return INFLATE_MEMORY;
    InflateEnd end = inflate_blocks(&z);
    if (end != INFLATE_STOPPED && !hand_over(&z) && end == INFLATE_WHOLE) end = INFLATE_STOPPED;
    if (end == INFLATE_WHOLE) {
        if (size - z.at < 4) {
            end = INFLATE_SHORT;
        } else {
            const uint8_t *sum = in + z.at;
            uint32_t told = (uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3];
            report->checksum_wrong = told != z.adler;
            z.at += 4;
        }
    }
    report->used = z.at;
    report->reason = z.reason;
    mem_free(z.out);
    return end;
}

/* ---- deflate ---- */

/* BLOCK symbols make one block. CHAIN and GOOD trade time for size: 32 tries, content with 128 equal bytes. */
enum { HASH_BITS = 15, BLOCK = 32768, MATCH_MIN = 3, MATCH_MAX = 258, CHAIN = 32, GOOD = 128 };

typedef struct {
    const uint8_t *data;
    size_t size;
    uint8_t *out;
    size_t made;
    uint64_t bits;
    int count;
    int32_t *head, *chain; /* position mod 2^31 of the latest with this hash; of the one before */
    uint16_t *lengths;     /* of the block: match length, or 0 and ... */
    uint16_t *values;      /* ... the literal; else distance - 1 */
    int symbols;
    uint32_t literal_uses[LITERALS], distance_uses[DISTANCES];
    uint8_t length_symbol[MATCH_MAX + 1];
} Deflate;

static void put_bits(Deflate *z, unsigned value, int n) {
    z->bits |= (uint64_t)value << z->count;
    z->count += n;
    while (z->count >= 8) {
        z->out[z->made++] = (uint8_t)z->bits;
        z->bits >>= 8;
        z->count -= 8;
    }
}

static void flush_bits(Deflate *z) {
    if (z->count) put_bits(z, 0, 8 - z->count);
}

static int distance_symbol(unsigned distance) { /* distance - 1 */
    if (distance < 4) return (int)distance;
    int top = 31 - __builtin_clz(distance);
    return 2 * top + (int)(distance >> (top - 1) & 1);
}

/* Code lengths of at most `most` bits for n symbols by their number of uses: Huffman's tree by merging two sorted
 * queues; then codes that came out too long are cut, and room is made for them by splitting the deepest shorter ones.
 * At least two symbols get a code, so that the code is complete. */
static void huffman_lengths(const uint32_t *uses, int n, int most, uint8_t *lengths) {
    uint16_t order[LITERALS];
    uint32_t weight[2 * LITERALS];
    uint16_t parent[2 * LITERALS], depth[2 * LITERALS];
    int leaves = 0;
    memset(lengths, 0, (size_t)n);
    for (int i = 0; i < n; i++) { /* sorted by uses, rising; insertion is quick for 286 */
        if (!uses[i]) continue;
        int j = leaves++;
        for (; j > 0 && uses[order[j - 1]] > uses[i]; j--) order[j] = order[j - 1];
        order[j] = (uint16_t)i;
    }
    if (leaves < 2) {
        int used = leaves ? order[0] : 0;
        lengths[used] = lengths[used ? 0 : 1] = 1;
        return;
    }
    for (int i = 0; i < leaves; i++) weight[i] = uses[order[i]];
    int leaf = 0, inner = leaves, nodes = leaves;
    while (nodes < 2 * leaves - 1) {
        uint32_t sum = 0;
        for (int k = 0; k < 2; k++) {
            bool take_leaf = leaf < leaves && (inner >= nodes || weight[leaf] <= weight[inner]);
            int child = take_leaf ? leaf++ : inner++;
            sum += weight[child];
            parent[child] = (uint16_t)nodes;
        }
        weight[nodes++] = sum;
    }
    int count[BITS_MAX + 1] = {0};
    uint32_t room = 0; /* used of 2^most */
    depth[nodes - 1] = 0;
    for (int i = nodes - 2; i >= 0; i--) {
        depth[i] = (uint16_t)(depth[parent[i]] + 1);
        if (i >= leaves) continue;
        int d = depth[i] < most ? depth[i] : most;
        count[d]++;
        room += 1u << (most - d);
    }
    for (; room > 1u << most; room--) { /* one leaf of the last level moves under a split leaf higher up */
        int d = most - 1;
        while (count[d] == 0) d--;
        count[d]--;
        count[d + 1] += 2;
        count[most]--;
    }
    for (int d = most, i = 0; d > 0; d--)
        for (int k = 0; k < count[d]; k++) lengths[order[i++]] = (uint8_t)d;
}

static void canonical_codes(const uint8_t *lengths, int n, uint16_t *codes) {
    unsigned count[BITS_MAX + 2] = {0}, next[BITS_MAX + 2];
    for (int i = 0; i < n; i++) count[lengths[i]]++;
    count[0] = 0;
    next[0] = 0;
    for (int k = 1; k <= BITS_MAX; k++) next[k] = (next[k - 1] + count[k - 1]) << 1;
    for (int i = 0; i < n; i++) codes[i] = lengths[i] ? (uint16_t)reverse_bits(next[lengths[i]]++, lengths[i]) : 0;
}

typedef struct {
    uint8_t symbol, extra;
} Run;

/* The two tables of lengths as runs; returns how many. */
static int pack_lengths(const uint8_t *lengths, int n, Run *runs) {
    int made = 0;
    for (int i = 0; i < n;) {
        int same = 1;
        while (i + same < n && lengths[i + same] == lengths[i]) same++;
        if (lengths[i] == 0 && same >= 3) {
            int take = same < 138 ? same : 138;
            runs[made++] = take < 11 ? (Run){17, (uint8_t)(take - 3)} : (Run){18, (uint8_t)(take - 11)};
            i += take;
        } else if (same >= 4) {
            int take = same - 1 < 6 ? same - 1 : 6;
            runs[made++] = (Run){lengths[i], 0};
            runs[made++] = (Run){16, (uint8_t)(take - 3)};
            i += 1 + take;
        } else {
            runs[made++] = (Run){lengths[i], 0};
            i++;
        }
    }
    return made;
}

static uint64_t body_bits(const Deflate *z, const uint8_t *literals, const uint8_t *distances) {
    uint64_t bits = 0;
    for (int i = 0; i < 286; i++)
        bits += (uint64_t)z->literal_uses[i] * (literals[i] + (i > END_OF_BLOCK ? length_bits[i - 257] : 0u));
    for (int i = 0; i < 30; i++) bits += (uint64_t)z->distance_uses[i] * (distances[i] + (unsigned)distance_bits[i]);
    return bits;
}

static void put_body(Deflate *z, const uint8_t *literals, const uint8_t *distances) {
    uint16_t literal_codes[LITERALS], distance_codes[DISTANCES];
    canonical_codes(literals, LITERALS, literal_codes);
    canonical_codes(distances, DISTANCES, distance_codes);
    for (int i = 0; i < z->symbols; i++) {
        unsigned length = z->lengths[i], value = z->values[i];
        if (length == 0) {
            put_bits(z, literal_codes[value], literals[value]);
            continue;
        }
        int s = z->length_symbol[length], d = distance_symbol(value);
        put_bits(z, literal_codes[257 + s], literals[257 + s]);
        put_bits(z, length - length_base[s], length_bits[s]);
        put_bits(z, distance_codes[d], distances[d]);
        put_bits(z, value + 1 - distance_base[d], distance_bits[d]);
    }
    put_bits(z, literal_codes[END_OF_BLOCK], literals[END_OF_BLOCK]);
}

/* Writes the block that stands for data[begin..end) in the cheapest way. */
static void put_block(Deflate *z, size_t begin, size_t end, bool final) {
    uint8_t literals[LITERALS] = {0}, distances[DISTANCES] = {0}, fixed[LITERALS], fixed_distances[DISTANCES];
    z->literal_uses[END_OF_BLOCK] = 1;
    huffman_lengths(z->literal_uses, 286, BITS_MAX, literals);
    huffman_lengths(z->distance_uses, 30, BITS_MAX, distances);
    fixed_lengths(fixed);
    memset(fixed_distances, 5, sizeof fixed_distances);
    int n_literals = 286, n_distances = 30;
    while (literals[n_literals - 1] == 0) n_literals--;
    while (n_distances > 1 && distances[n_distances - 1] == 0) n_distances--;
    uint8_t both[LITERALS + DISTANCES];
    Run runs[LITERALS + DISTANCES];
    memcpy(both, literals, (size_t)n_literals);
    memcpy(both + n_literals, distances, (size_t)n_distances);
    int n_runs = pack_lengths(both, n_literals + n_distances, runs);
    uint32_t run_uses[CODE_LENGTHS] = {0};
    uint8_t run_lengths[CODE_LENGTHS];
    for (int i = 0; i < n_runs; i++) run_uses[runs[i].symbol]++;
    huffman_lengths(run_uses, CODE_LENGTHS, 7, run_lengths);
    int n_lengths = CODE_LENGTHS;
    while (n_lengths > 4 && run_lengths[code_length_order[n_lengths - 1]] == 0) n_lengths--;
    uint64_t dynamic_bits = 3 + 14 + 3 * (uint64_t)n_lengths + body_bits(z, literals, distances);
    for (int i = 0; i < CODE_LENGTHS; i++)
        dynamic_bits += (uint64_t)run_uses[i] * (run_lengths[i] + (i == 16 ? 2u : i == 17 ? 3u : i == 18 ? 7u : 0u));
    uint64_t fixed_bits = 3 + body_bits(z, fixed, fixed_distances);
    size_t bytes = end - begin;
    uint64_t stored_bits = 8 * (uint64_t)bytes + 40 * (uint64_t)(bytes / 65535 + 1);
    if (stored_bits <= dynamic_bits && stored_bits <= fixed_bits) {
        do {
            size_t n = end - begin < 65535 ? end - begin : 65535;
            put_bits(z, final && begin + n == end, 1);
            put_bits(z, 0, 2);
            flush_bits(z);
            put_bits(z, (unsigned)n, 16);
            put_bits(z, (unsigned)n ^ 0xffff, 16);
            if (n) memcpy(z->out + z->made, z->data + begin, n);
            z->made += n;
            begin += n;
        } while (begin < end);
    } else if (fixed_bits <= dynamic_bits) {
        put_bits(z, final, 1);
        put_bits(z, 1, 2);
        put_body(z, fixed, fixed_distances);
    } else {
        uint16_t run_codes[CODE_LENGTHS];
        canonical_codes(run_lengths, CODE_LENGTHS, run_codes);
        put_bits(z, final, 1);
        put_bits(z, 2, 2);
        put_bits(z, (unsigned)n_literals - 257, 5);
        put_bits(z, (unsigned)n_distances - 1, 5);
        put_bits(z, (unsigned)n_lengths - 4, 4);
        for (int i = 0; i < n_lengths; i++) put_bits(z, run_lengths[code_length_order[i]], 3);
        for (int i = 0; i < n_runs; i++) {
            int s = runs[i].symbol;
            put_bits(z, run_codes[s], run_lengths[s]);
            if (s >= 16) put_bits(z, runs[i].extra, s == 16 ? 2 : s == 17 ? 3 : 7);
        }
        put_body(z, literals, distances);
    }
    z->symbols = 0;
    memset(z->literal_uses, 0, sizeof z->literal_uses);
    memset(z->distance_uses, 0, sizeof z->distance_uses);
}

static unsigned hash3(const uint8_t *p) {
    uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
    return v * 0x9E3779B1u >> (32 - HASH_BITS);
}

static void remember(Deflate *z, size_t at) {
    if (z->size - at < MATCH_MIN) return;
    unsigned h = hash3(z->data + at);
    z->chain[at % WINDOW] = z->head[h];
    z->head[h] = (int32_t)(at & INT32_MAX);
}

/* The longest match at `at` longer than `best`, 0 if none; positions are kept modulo 2^31, so differences are too. */
static int find_match(const Deflate *z, size_t at, int best, int *distance) {
    size_t left = z->size - at;
    int most = left < MATCH_MAX ? (int)left : MATCH_MAX, found = 0;
    if (most < MATCH_MIN || best >= most) return 0;
    const uint8_t *here = z->data + at;
    int32_t candidate = z->head[hash3(here)];
    int64_t last = 0;
    for (int tries = CHAIN; candidate >= 0 && tries > 0; tries--) {
        int64_t d = (int64_t)((uint32_t)at - (uint32_t)candidate) & INT32_MAX;
        if (d <= last || d > WINDOW || (size_t)d > at) break; /* older than the window: the chain was overwritten */
        last = d;
        const uint8_t *there = here - d;
        if (there[best] == here[best]) {
            int n = 0;
            while (n < most && there[n] == here[n]) n++;
            if (n > best && n >= MATCH_MIN) {
                best = found = n;
                *distance = (int)d;
                if (n >= GOOD || n == most) break;
            }
        }
        candidate = z->chain[candidate % WINDOW];
    }
    return found;
}

static void add_literal(Deflate *z, uint8_t value) {
    z->lengths[z->symbols] = 0;
    z->values[z->symbols++] = value;
    z->literal_uses[value]++;
}

static void add_match(Deflate *z, int length, int distance) {
    z->lengths[z->symbols] = (uint16_t)length;
    z->values[z->symbols++] = (uint16_t)(distance - 1);
    z->literal_uses[257 + z->length_symbol[length]]++;
    z->distance_uses[distance_symbol((unsigned)distance - 1)]++;
}

static void deflate_blocks(Deflate *z) {
    size_t at = 0, begin = 0;
    while (at < z->size) {
        int distance = 0, length = find_match(z, at, 0, &distance);
        remember(z, at);
        if (length >= MATCH_MIN && length < GOOD && at + 1 < z->size) { /* does the next place match longer? */
            int later_distance = 0;
            if (find_match(z, at + 1, length, &later_distance) > 0) length = 0;
        }
        if (length >= MATCH_MIN) {
            add_match(z, length, distance);
            for (int i = 1; i < length; i++) remember(z, at + (size_t)i);
            at += (size_t)length;
        } else {
            add_literal(z, z->data[at++]);
        }
        if (z->symbols == BLOCK && at < z->size) {
            put_block(z, begin, at, false);
            begin = at;
        }
    }
    put_block(z, begin, at, true);
    flush_bits(z);
}

static uint8_t *deflate_between(const uint8_t *data, size_t bytes, size_t head, size_t tail, size_t *size) {
    size_t need;
    /* A block stands for at least BLOCK bytes (the last one less) and costs at most what storing it does. */
    if (!size_add(bytes, bytes / BLOCK * 16 + 64 + head + tail, &need)) need = SIZE_MAX;
    uint8_t *out = mem_alloc(need);
    Deflate *z = mem_zero(1, sizeof *z);
    int32_t *head_table = mem_array((size_t)1 << HASH_BITS, sizeof *head_table);
    int32_t *chain = mem_array(WINDOW, sizeof *chain);
    uint16_t *symbols = mem_array(2 * BLOCK, sizeof *symbols);
    bool made = out && z && head_table && chain && symbols;
    if (made) {
        *z = (Deflate){.data = data, .size = bytes, .out = out, .made = head, .head = head_table, .chain = chain};
        z->lengths = symbols;
        z->values = symbols + BLOCK;
        memset(head_table, 0xff, ((size_t)1 << HASH_BITS) * sizeof *head_table);
        memset(chain, 0xff, WINDOW * sizeof *chain);
        for (int s = 0; s < 29; s++)
            for (int n = length_base[s]; n <= MATCH_MAX; n++) z->length_symbol[n] = (uint8_t)s;
        deflate_blocks(z);
        *size = z->made + tail;
    }
    mem_free(symbols);
    mem_free(chain);
    mem_free(head_table);
    mem_free(z);
    if (made) {
        uint8_t *smaller = mem_grow(out, *size);
        return smaller ? smaller : out;
    }
    mem_free(out);
    return NULL;
}

uint8_t *deflate_raw(const uint8_t *data, size_t bytes, size_t *size) {
    return deflate_between(data, bytes, 0, 0, size);
}

uint8_t *deflate_zlib(const uint8_t *data, size_t bytes, size_t *size) {
    uint8_t *out = deflate_between(data, bytes, 2, 4, size);
    if (!out) return NULL;
    out[0] = 0x78; /* 32 KiB window; second byte: default effort, makes a multiple of 31 */
    out[1] = 0x9c;
    uint32_t sum = adler32(1, data, bytes);
    for (int i = 0; i < 4; i++) out[*size - 4 + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
    return out;
}
