# panum: make help lists what there is. Needs a C compiler, make and libstb-dev; the tests need libcmocka-dev too.
# Sources are found by where they lie: a new .c of a room, a new test, a new fuzz target need no line here.
BUILD ?= build
CC ?= gcc
# Most of the program reads files and options; with -O3 all of it was a third larger and no faster. What loops over
# pixels need is the vectoriser, which gcc lets weigh costs at -O2 as at -O3 only when told so. Vector sources, where
# unrolling matters, are built with -O3; verbs, what they share, files of weights and what launches kernels on a GPU for
# size. None of that where OPT was chosen outside, as it is for the sanitizers.
ifeq ($(origin OPT),undefined)
OPT := -O2 $(if $(findstring clang,$(shell $(CC) --version)),,-fvect-cost-model=dynamic)
endif
KERNEL_OPT := $(if $(filter file,$(origin OPT)),-O3)
SIZE_OPT := $(if $(filter file,$(origin OPT)),-Os)
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wvla -Wno-psabi -Wno-unknown-warning-option -Wno-format-truncation -Wno-stringop-truncation -Werror
CFLAGS += -std=c11 -D_GNU_SOURCE -g $(OPT) $(WARN) -fno-math-errno -fno-trapping-math -ffp-contract=off \
          -ffunction-sections -fdata-sections -fstack-protector-strong -fPIE -I.
# Nothing throws and nothing unwinds itself: those tables are 140 KB of the program. Debuggers have theirs from -g, and
# the sanitizers, which print where they are, keep both.
CFLAGS += $(if $(SANITIZE),,-fno-asynchronous-unwind-tables)
LDFLAGS += -pie -Wl,--gc-sections -Wl,-z,relro,-z,now
LDLIBS += -lm -lpthread -ldl
VERSION := 0.1.0
comma := ,
CPPFLAGS += -DPANUM_VERSION='"$(VERSION)"' -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 $(SANITIZE)
# One short line for each thing made; V=1 shows the commands.
V ?=
Q = $(if $(V),,@)
quiet_make := $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(V)$(quiet_make),,@printf '%-6s %s\n' $(1) $(2))
ARCH := $(shell $(CC) -dumpmachine)

# Every .c of a room belongs to the library; tests and verbs find themselves by name.
ROOMS = base tensor tensor/ops tensor/files cuda cuda/kernels autograd exec nn models losses data apps/lib
LIB_SRC := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o) $(BUILD)/cuda/embedded.o $(BUILD)/cuda/kept_bytes.o
APP_SRC := $(wildcard apps/*.c)
APP_OBJ := $(APP_SRC:%.c=$(BUILD)/%.o)
TEST_SRC := $(wildcard tests/*/test_*.c tests/test_*.c)
TEST_BIN := $(TEST_SRC:%.c=$(BUILD)/%)
TEST_LIB_SRC := $(wildcard tests/lib/*.c)
TEST_LIB_OBJ := $(TEST_LIB_SRC:%.c=$(BUILD)/%.o)

FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
REPLAY_BIN := $(FUZZ_SRC:%.c=$(BUILD)/%)
BENCH_SRC := $(wildcard bench/*.c)
BENCH_BIN := $(BENCH_SRC:%.c=$(BUILD)/%)
VERBS := $(filter-out main,$(foreach f,$(notdir $(APP_SRC:.c=)),$(if $(findstring _,$(f)),,$(f))))

.PHONY: all apps demo test asan ubsan tsan fuzz bench layers format size arm install uninstall clean help
all: $(BUILD)/panum ## the program (build/panum) and the library (build/libpanum.a)

$(BUILD)/libpanum.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $^

$(BUILD)/panum: $(APP_OBJ) $(BUILD)/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $(APP_OBJ) $(BUILD)/libpanum.a $(LDLIBS)

FOR_SIZE := $(APP_SRC) $(filter-out apps/lib/peak_%,$(wildcard apps/lib/*.c)) $(wildcard cuda/*.c cuda/kernels/*.c exec/gpu*.c) $(wildcard tensor/files/*.c)
$(FOR_SIZE:%.c=$(BUILD)/%.o): CFLAGS += $(SIZE_OPT)

# Vector sources are compiled once per instruction set, each with its own flags; on other machines they are empty.
ifneq (,$(findstring x86_64,$(ARCH)))
$(BUILD)/%_avx2.o: CFLAGS += $(KERNEL_OPT) -mavx2 -mfma -mf16c -ffp-contract=fast
$(BUILD)/%_avx512.o: CFLAGS += $(KERNEL_OPT) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512 -ffp-contract=fast
$(BUILD)/%_bf16.o: CFLAGS += $(KERNEL_OPT) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx2 -mfma -mprefer-vector-width=512 -ffp-contract=fast
endif

# The weights that are shipped are looked for under the prefix too; another prefix compiles that file again.
$(BUILD)/apps/lib/model_files.o: CPPFLAGS += -DPANUM_PREFIX='"$(PREFIX)"'
$(BUILD)/apps/lib/model_files.o: $(BUILD)/prefix
.PHONY: always
always:
$(BUILD)/prefix: always
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@

# stb shifts signed numbers into their sign bit on purpose.
$(BUILD)/base/stb.o: CFLAGS += -fwrapv -fno-sanitize=shift

$(BUILD)/cuda/embedded.o $(BUILD)/cuda/kept_bytes.o: $(BUILD)/cuda/%.o: $(BUILD)/cuda/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIB_OBJ) $(BUILD)/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $< $(TEST_LIB_OBJ) $(BUILD)/libpanum.a -lcmocka $(LDLIBS)

# The text of the kernels, which NVRTC compiles while the program runs, as an array.
KERNEL_TEXT := $(wildcard cuda/device/*.h cuda/kernels/*.h cuda/kernels/*.cu)
$(BUILD)/cuda/embedded.c: tools/embed.sh $(KERNEL_TEXT)
	@mkdir -p $(@D)
	$(call say,EMBED,cuda)
	$(Q)sh tools/embed.sh $(KERNEL_TEXT) >$@.part && mv $@.part $@

# The same compiled to PTX beforehand, for machines without NVRTC (cuda/kept.h). Made anew when kernels have changed.
$(BUILD)/cuda/kept_bytes.c: tools/embed.sh cuda/kept.ptx.z
	@mkdir -p $(@D)
	$(call say,EMBED,cuda/kept.ptx.z)
	$(Q)sh tools/embed.sh -b cuda_kept cuda/kept.ptx.z >$@.part && mv $@.part $@
$(BUILD)/tools/kept: $(BUILD)/tools/kept.o $(BUILD)/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.PHONY: kept
kept: $(BUILD)/tools/kept ## compiles the kernels that come with the program, with NVRTC, into cuda/kept.ptx.z
	$(BUILD)/tools/kept cuda/kept.ptx.z $(PANUM_NVRTC)

# Tests of the GPU code run on an emulated device, whose kernels are compiled while the test runs and call back into it.
SIMT_SRC := $(wildcard tests/cuda/simt/*.c)
SIMT_OBJ := $(SIMT_SRC:%.c=$(BUILD)/%.o)
# Said once more by name: a chain of patterns would not find how to make them, and link without.
$(SIMT_OBJ): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/tests/cuda/%: $(BUILD)/tests/cuda/%.o $(SIMT_OBJ) $(TEST_LIB_OBJ) $(BUILD)/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -rdynamic -o $@ $< $(SIMT_OBJ) $(TEST_LIB_OBJ) $(BUILD)/libpanum.a -lcmocka $(LDLIBS)

# The emulated device as the driver (tests/cuda/simt/as_driver.c): the whole program, and tests that are linked so.
WRAPPED := $(patsubst %,-Wl$(comma)--wrap=%,cuda_present cuda_count cuda_open cuda_facts)
$(BUILD)/tests/cuda/test_trust: LDFLAGS += $(WRAPPED)
$(BUILD)/tests/cuda/panum_emulated: $(APP_OBJ) $(SIMT_OBJ) $(TEST_LIB_OBJ) $(BUILD)/libpanum.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -rdynamic $(WRAPPED) -o $@ $(APP_OBJ) $(SIMT_OBJ) $(TEST_LIB_OBJ) $(BUILD)/libpanum.a -lcmocka $(LDLIBS)

# A driver, and an NVRTC, that fail as told.
$(BUILD)/tests/cuda/libcuda_fake.so: tests/cuda/fake_driver.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O1 -fPIC -shared -o $@ $<
$(BUILD)/tests/cuda/test_driver $(BUILD)/tests/cuda/test_cache $(BUILD)/tests/cuda/test_trust $(BUILD)/tests/cuda/test_kept $(BUILD)/tests/cuda/test_verbs: $(BUILD)/tests/cuda/libcuda_fake.so

# A driver, and an NVRTC, behind which stands the emulated device.
EMULATED_DRIVER := tests/cuda/emulated_driver.c tests/cuda/simt/emulated.c tests/cuda/simt/simt.c \
                   $(foreach f,cpu err file half hash mem text,base/$(f).c)
$(BUILD)/tests/cuda/libcuda_emulated.so: $(EMULATED_DRIVER) $(wildcard tests/cuda/simt/*.h) cuda/calls.h cuda/gpu.h
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O1 -g -fPIC -shared -I. -o $@ $(EMULATED_DRIVER) -ldl -lpthread

$(BUILD)/tests/cuda/test_emulated_driver: | $(BUILD)/tests/cuda/libcuda_emulated.so $(BUILD)/tests/cuda/test_words $(BUILD)/tests/cuda/test_player $(BUILD)/panum

# A libc whose calls fail when they are told to; loaded before the program by the tests of bad inputs.
$(BUILD)/tests/bad/faults.so: tests/bad/faults.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O1 -fPIC -shared -o $@ $< -ldl
$(filter $(BUILD)/tests/bad/%,$(TEST_BIN)): $(BUILD)/tests/bad/faults.so

# The runtime once more with `real` = double: definitions and interpreter only. Tests that have a case for it are built
# against it from the same source.
F64_ROOMS = base tensor tensor/ops tensor/files autograd exec nn models losses data
F64_SRC := $(filter-out %_avx2.c %_avx512.c %_bf16.c,$(foreach r,$(F64_ROOMS),$(wildcard $(r)/*.c)))
F64_OBJ := $(F64_SRC:%.c=$(BUILD)/f64/%.o)
F64_TESTS := $(patsubst %.c,$(BUILD)/f64/%,$(shell grep -ls PANUM_F64 tests/*/test_*.c))
$(BUILD)/f64/%.o: CPPFLAGS += -DPANUM_F64
$(BUILD)/f64/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC64,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/f64/libpanum.a: $(F64_OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $^
$(BUILD)/f64/tests/%: $(BUILD)/f64/tests/%.o $(TEST_LIB_SRC:%.c=$(BUILD)/f64/%.o) $(BUILD)/f64/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# Each verb alone: the same main with a list of one verb. A verb's other files are called VERB_something.c.
define ONE_VERB
$(BUILD)/only/$(1).o: apps/main.c
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(CPPFLAGS) $$(CFLAGS) -DPANUM_ONLY=$(1) -MMD -MP -c -o $$@ $$<
$(BUILD)/panum-$(1): $(BUILD)/only/$(1).o $(BUILD)/apps/$(1).o $(patsubst %.c,$(BUILD)/%.o,$(wildcard apps/$(1)_*.c)) $(BUILD)/libpanum.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(CPPFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach v,$(VERBS),$(eval $(call ONE_VERB,$(v))))
apps: $(VERBS:%=$(BUILD)/panum-%) ## each verb as a program of its own: build/panum-match and so on

demo: all ## renders a scene with known depth, matches it, and writes pictures and a report to build/demo
	$(BUILD)/panum demo -y -o $(BUILD)/demo/

test: all layers $(TEST_BIN) $(F64_TESTS) $(REPLAY_BIN) $(BUILD)/install/libpanum.a ## builds and runs every test
	@CC="$(CC)" sh tests/run.sh $(BUILD) $(TEST_BIN) $(F64_TESTS) $(REPLAY_BIN)

# Tests of the GPU code that run on a GPU as they do on the emulated device; the others plant faults or ask the fake driver.
# GPU=cuda:1 names another device.
GPU ?= cuda
NOT_ON_A_GPU := operators watchers driver cache nvrtc headers trust kept verbs emulated_driver
GPU_TESTS := $(filter-out $(NOT_ON_A_GPU:%=$(BUILD)/tests/cuda/test_%),$(filter $(BUILD)/tests/cuda/%,$(TEST_BIN)))
.PHONY: test-gpu gpu-tests
gpu-tests: all $(GPU_TESTS)
.PHONY: gpu-tests-list
gpu-tests-list:
	@echo $(GPU_TESTS)
test-gpu: gpu-tests ## kernels, plans and training on a GPU (GPU=cuda:1) against the CPU, compute-sanitizer; into bench/results/
	@sh tools/test_gpu.sh $(BUILD) $(GPU) $(GPU_TESTS)

# The same on a driver behind which stands the emulated device: everything but the GPU.
.PHONY: test-gpu-dry
test-gpu-dry: gpu-tests $(BUILD)/tests/cuda/libcuda_emulated.so ## test-gpu on an emulated driver: what it would run, with results
	@mkdir -p $(BUILD)/dry
	@for f in libcuda.so.1 libnvrtc.so.13; do ln -sf $(abspath $(BUILD))/tests/cuda/libcuda_emulated.so $(BUILD)/dry/$$f; done
	@LD_LIBRARY_PATH=$(abspath $(BUILD))/dry RESULTS=$(BUILD)/dry NO_SANITIZER=1 EMULATED_CUDA="arch=80 unwatched=1" \
	    TEST_SECONDS=3600 sh tools/test_gpu.sh $(BUILD) $(GPU) $(DRY_TESTS)
DRY_TESTS ?= $(GPU_TESTS)

# The table of operators, from what the tests of this folder have held against the CPU.
.PHONY: operators
operators: gpu-tests $(BUILD)/tests/cuda/test_operators ## runs the GPU tests and writes docs/gpu_operators.tsv
	rm -f $(BUILD)/operators.seen
	@for t in $(GPU_TESTS); do PANUM_BUILD=$(BUILD) $$t >/dev/null || exit 1; done
	PANUM_BUILD=$(BUILD) $(BUILD)/tests/cuda/test_mixed all >/dev/null
	PANUM_BUILD=$(BUILD) $(BUILD)/tests/cuda/test_operators write

.PHONY: nvrtc
nvrtc: $(BUILD)/tests/cuda/test_nvrtc ## every kernel and variant through NVRTC for every architecture: long
	PANUM_BUILD=$(BUILD) $< all

.PHONY: test-emulated
test-emulated: $(BUILD)/tests/cuda/test_s2m2_device $(BUILD)/tests/cuda/test_mixed $(BUILD)/tests/cuda/test_trainer $(BUILD)/tests/cuda/test_trust $(BUILD)/tests/cuda/panum_emulated ## S2M2-XS and a training step on the emulated GPU, in mixed precision and on the plain rungs too
	PANUM_BUILD=$(BUILD) $(BUILD)/tests/cuda/test_mixed all
	PANUM_BUILD=$(BUILD) $(BUILD)/tests/cuda/test_trainer all
	PANUM_BUILD=$(BUILD) $(BUILD)/tests/cuda/test_trust all
	PANUM_BUILD=$(BUILD) $< all

# The same tests under a sanitizer, each in a build folder of its own.
asan: ## every test with the address sanitizer (leaks too)
	ASAN_OPTIONS=allocator_may_return_null=1 $(MAKE) BUILD=$(BUILD)/asan OPT=-O1 SANITIZE="-fsanitize=address -fno-omit-frame-pointer" test
ubsan: ## every test with the undefined behaviour sanitizer
	$(MAKE) BUILD=$(BUILD)/ubsan OPT=-O1 SANITIZE="-fsanitize=undefined,float-divide-by-zero -fno-sanitize-recover=all" test
tsan: ## the tests of threads with the thread sanitizer
	$(MAKE) BUILD=$(BUILD)/tsan OPT=-O1 SANITIZE=-fsanitize=thread TEST_SRC="$(wildcard tests/base/test_*.c tests/exec/test_*.c) tests/ops/test_sgm.c tests/apps/test_match.c $(wildcard tests/apps/test_film*.c)" FUZZ_SRC= test

# Fuzzing needs clang. In `make test` the corpus is replayed through the same targets with a plain main.
# (Named, so that one target alone finds this rule too, and not that of the tests.)
$(REPLAY_BIN): $(BUILD)/tests/fuzz/replay.o
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
FUZZ_SECONDS ?= 20
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/bin/%)
$(BUILD)/bin/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libpanum.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LDLIBS)
.PHONY: fuzz-build fuzz-run
fuzz-build: $(FUZZ_BIN)
fuzz-run: fuzz-build
	@for f in $(FUZZ_BIN); do \
	    name=$${f##*/fuzz_}; mkdir -p $(BUILD)/found/$$name tests/fuzz/corpus/$$name; \
	    echo "== $$name"; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
	        -artifact_prefix=$(BUILD)/found/$$name- $(BUILD)/found/$$name tests/fuzz/corpus/$$name 2>$(BUILD)/found/$$name.log \
	        || { tail -40 $(BUILD)/found/$$name.log; exit 1; }; \
	    grep -E 'number_of_executed_units|new_units_added' $(BUILD)/found/$$name.log; \
	done
fuzz: ## builds every fuzz target with clang and runs each for FUZZ_SECONDS (20)
	$(MAKE) BUILD=$(BUILD)/fuzz CC="$(CLANG)" OPT=-O1 SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" fuzz-run
CLANG ?= clang

$(BENCH_BIN): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libpanum.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
bench: all $(BENCH_BIN) ## measures the kernels against the peaks of this machine
	$(BUILD)/panum bench

# What the weights that ship are held to: real pairs with truth (which never train anything), and synthetic scenes.
# WEIGHTS=FILE judges another file of s2m2-XS.
GT ?= ../shared/data/stereo_gt
WEIGHTS ?= weights/s2m2-XS.safetensors
judged = --model sgm $(if $(wildcard $(WEIGHTS)),--model s2m2-XS --weights $(WEIGHTS),)
.PHONY: judge weights ship
judge: all ## measures sgm and the weights that ship (WEIGHTS) on real pairs and synthetic scenes, beside StereoSGBM
	$(BUILD)/panum judge bench/stereo_gt/pairs.tsv --folder $(GT) $(judged) --beside bench/stereo_gt/StereoSGBM.tsv
	$(BUILD)/panum judge synthetic --count 48 $(judged)

# From nothing to the file that ships. Training may be stopped at any time and goes on when it is called again. AUTO="no:
# why" keeps the file from being taken unless somebody asks for it.
RUN ?= runs/xs
weights: all ## trains the weights that ship from nothing into RUN (runs/xs), by weights/recipe-*.args: hours
	$(BUILD)/panum train stereo @weights/recipe-1.args -o $(RUN)/1
	$(BUILD)/panum train stereo @weights/recipe-2.args --init $(RUN)/1/best.safetensors -o $(RUN)/2
	$(BUILD)/panum train stereo @weights/recipe-3.args --init $(RUN)/2/best.safetensors -o $(RUN)/3
BEST ?= $(RUN)/3/best.safetensors
ship: all ## turns RUN's last best weights (BEST) into weights/s2m2-XS.safetensors: f16, with what they are written into the file
	$(BUILD)/panum model verify $(BEST) --model s2m2-XS
	$(BUILD)/panum model convert $(BEST) --dtype f16 -y -o weights/s2m2-XS.safetensors \
	    --note licence=Apache-2.0 --note date=$(shell date -u +%F) \
	    --note "data=synthetic scenes drawn by panum; no picture and no truth of anybody else" \
	    $(if $(AUTO),--note "auto=$(AUTO)",)
	$(BUILD)/panum model info weights/s2m2-XS.safetensors

layers: ## checks that includes go down only and that every header compiles alone
	@CC="$(CC)" sh tools/layers.sh

format: ## checks the formatting with clang-format
	@clang-format --dry-run -Werror $(shell git ls-files '*.c' '*.h' 2>/dev/null)

size: all apps ## sizes of the programs, stripped
	@mkdir -p $(BUILD)/stripped
	@for p in $(BUILD)/panum $(VERBS:%=$(BUILD)/panum-%); do \
	    strip -o $(BUILD)/stripped/$${p##*/} $$p; wc -c $(BUILD)/stripped/$${p##*/}; done

ARM_CC ?= aarch64-linux-gnu-gcc
ARM_RUN ?= qemu-aarch64-static -L /usr/aarch64-linux-gnu
ARM_TRY = $(BUILD)/arm/try
arm: all ## cross-compiles for arm64; where qemu is installed, self-test, SGM and S2M2-XS beside this machine's plain vectors
	$(MAKE) BUILD=$(BUILD)/arm CC="$(ARM_CC) -idirafter /usr/include" all
	@command -v $(firstword $(ARM_RUN)) >/dev/null || { echo "not run: no $(firstword $(ARM_RUN))"; exit 0; }; set -e; \
	$(ARM_RUN) $(BUILD)/arm/panum selftest; \
	mkdir -p $(ARM_TRY); \
	$(ARM_RUN) $(BUILD)/arm/panum demo -q -y --model sgm --width 160 -o $(ARM_TRY)/; \
	$(BUILD)/panum model seed s2m2-XS -q -y -o $(ARM_TRY)/XS.safetensors; \
	for model in sgm "s2m2-XS --weights $(ARM_TRY)/XS.safetensors"; do \
	    pair="match $(ARM_TRY)/left.png $(ARM_TRY)/right.png --model $$model -q -y -o"; \
	    $(ARM_RUN) $(BUILD)/arm/panum $$pair $(ARM_TRY)/arm.pfm; \
	    PANUM_CPU=base $(BUILD)/panum $$pair $(ARM_TRY)/here.pfm; \
	    echo "$${model%% *}: arm64 against this machine"; \
	    cmp -s $(ARM_TRY)/arm.pfm $(ARM_TRY)/here.pfm && echo "the same bytes" || \
	        $(BUILD)/panum eval $(ARM_TRY)/arm.pfm --truth $(ARM_TRY)/here.pfm; \
	done

# The installed library is one object in which only the panum_* names of panum.h can be seen, so that our short
# internal names never meet those of the program it is linked into.
API := $(shell sed -nE 's/^[a-z].*(panum_[a-z]+).*/\1/p' panum.h)
OBJCOPY ?= $(patsubst %gcc,%objcopy,$(filter %-gcc,$(firstword $(CC))))
$(BUILD)/install/libpanum.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,LD,$@)
	$(Q)$(CC) -r -nostdlib -Wl,--gc-sections $(API:%=-Wl,-u,%) -o $(BUILD)/install/panum.o $(LIB_OBJ)
	$(Q)$(or $(OBJCOPY),objcopy) -w --strip-debug --keep-global-symbol='panum_*' $(BUILD)/install/panum.o
	$(Q)ar rcs $@ $(BUILD)/install/panum.o

PREFIX ?= /usr/local
MAN = $(DESTDIR)$(PREFIX)/share/man/man1
COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
SHARE = $(DESTDIR)$(PREFIX)/share/panum
SHIPPED := $(wildcard weights/*.safetensors)
install: all $(BUILD)/install/libpanum.a ## installs program, weights, library, header, man pages, completion (PREFIX, DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include $(MAN) $(COMPLETION)
	install -m 755 $(BUILD)/panum $(DESTDIR)$(PREFIX)/bin/panum
	install -m 644 $(BUILD)/install/libpanum.a $(DESTDIR)$(PREFIX)/lib/libpanum.a
	install -m 644 panum.h $(DESTDIR)$(PREFIX)/include/panum.h
	$(if $(SHIPPED),install -d $(SHARE) && install -m 644 $(SHIPPED) $(SHARE)/)
	$(BUILD)/panum help --man >$(MAN)/panum.1
	for v in $(VERBS); do $(BUILD)/panum help --man $$v >$(MAN)/panum-$$v.1 || exit 1; done
	$(BUILD)/panum help --completion bash >$(COMPLETION)/panum
uninstall: ## removes what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/panum $(DESTDIR)$(PREFIX)/lib/libpanum.a $(DESTDIR)$(PREFIX)/include/panum.h
	rm -f $(MAN)/panum.1 $(VERBS:%=$(MAN)/panum-%.1) $(COMPLETION)/panum
	rm -f $(patsubst weights/%,$(SHARE)/%,$(SHIPPED))
	rmdir $(SHARE) 2>/dev/null || true

clean: ## removes the build folder
	rm -rf $(BUILD)

help: ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.SECONDARY:
-include $(SIMT_OBJ:.o=.d) $(LIB_OBJ:.o=.d) $(APP_OBJ:.o=.d) $(TEST_BIN:=.d) $(TEST_LIB_OBJ:.o=.d) $(REPLAY_BIN:=.d) $(BENCH_BIN:=.d) $(F64_OBJ:.o=.d) $(F64_TESTS:=.d) $(TEST_LIB_SRC:%.c=$(BUILD)/f64/%.d)
