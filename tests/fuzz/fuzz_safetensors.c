/* safetensors and everything that is no weights file. */
#include "tests/fuzz/weights_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) __attribute__((weak)); /* absent when replaying */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_weights(data, size);
    return 0;
}

/* Half of the time only the header is changed and its length put right, since a wrong length hides everything else. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    uint64_t header = 0;
    for (int i = 7; size >= 8 && i >= 0; i--) header = header << 8 | data[i];
    if (size < 10 || header < 2 || header > size - 8 || seed % 2) return LLVMFuzzerMutate(data, size, most);
    size_t tail = size - 8 - (size_t)header;
    uint8_t *copy = malloc(most + tail + 1);
    demand(copy);
    memcpy(copy, data + 8, (size_t)header);
    size_t changed = LLVMFuzzerMutate(copy, (size_t)header, most - 8 - tail);
    memcpy(copy + changed, data + 8 + header, tail);
    memcpy(data + 8, copy, changed + tail);
    for (int i = 0; i < 8; i++) data[i] = (uint8_t)((uint64_t)changed >> 8 * i);
    free(copy);
    return 8 + changed + tail;
}
