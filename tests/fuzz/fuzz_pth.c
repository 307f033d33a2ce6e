/* PyTorch's files. An input that is neither a zip archive nor a legacy file is taken as a pickle and put into an
 * archive with two storages, so that the fuzzer need not forge checksums. */
#include "base/zip.h"
#include "tensor/files/pickle.h"
#include "tests/fuzz/weights_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_in_archive(const uint8_t *data, size_t size) {
    Out *out = NULL;
    ZipOut *zip = NULL;
    uint8_t *archive = NULL, storage[96];
    size_t archive_size = 0;
    for (size_t i = 0; i < sizeof storage; i++) storage[i] = (uint8_t)(i * 7);
    demand(out_memory(&out) == 0 && zip_out_begin(out, &zip) == 0);
    demand(zip_out_add(zip, "a/data.pkl", data, size, false) == 0);
    demand(zip_out_add(zip, "a/data/0", storage, 96, false) == 0 &&
           zip_out_add(zip, "a/data/1", storage, 16, false) == 0);
    demand(zip_out_end(&zip) == 0 && out_memory_take(&out, &archive, &archive_size) == 0);
    check_weights(archive, archive_size);
    mem_free(archive);
}

static void check_pickle(const uint8_t *data, size_t size, bool legacy) {
    Pickle *pickle = mem_alloc(sizeof *pickle);
    demand(pickle);
    int rc = pickle_read(pickle, data, size, legacy);
    demand(rc == 0 || (rc == ERR_WEIGHTS && *pickle->error));
    demand(pickle->at <= size);
    for (uint32_t i = 0; i < pickle->storage_count; i++)
        demand(pickle->storages[i].key <= size && pickle->storages[i].key_bytes <= size - pickle->storages[i].key);
    for (uint32_t i = 0; i < pickle->tensor_count; i++) demand(pickle->tensors[i].storage < pickle->storage_count);
    pickle_free(pickle);
    mem_free(pickle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_weights(data, size);
    if (size >= 2 && memcmp(data, "PK", 2) == 0) return 0;
    check_pickle(data, size, false);
    check_pickle(data, size, true);
    check_in_archive(data, size);
    return 0;
}
