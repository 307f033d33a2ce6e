# panum: make help lists what there is. Needs a C compiler, make and libstb-dev; the tests need libcmocka-dev too.
BUILD ?= build
CC ?= gcc
OPT ?= -O3
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wvla -Wno-psabi -Wno-format-truncation -Wno-stringop-truncation -Werror
CFLAGS += -std=c11 -D_GNU_SOURCE -g $(OPT) $(WARN) -fno-math-errno -fno-trapping-math -ffp-contract=off \
          -ffunction-sections -fdata-sections -fstack-protector-strong -fPIE -I.
LDFLAGS += -pie -Wl,--gc-sections -Wl,-z,relro,-z,now
LDLIBS += -lm -lpthread -ldl
VERSION := 0.1.0
CPPFLAGS += -DPANUM_VERSION='"$(VERSION)"' -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 $(SANITIZE)
ARCH := $(shell $(CC) -dumpmachine)

# Every .c of a room belongs to the library; tests and verbs find themselves by name.
ROOMS = base tensor tensor/ops tensor/files autograd exec nn models losses data apps/lib
LIB_SRC := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
APP_SRC := $(wildcard apps/*.c)
APP_OBJ := $(APP_SRC:%.c=$(BUILD)/%.o)
TEST_SRC := $(wildcard tests/*/test_*.c tests/test_*.c)
TEST_BIN := $(TEST_SRC:%.c=$(BUILD)/%)
TEST_LIB_SRC := $(wildcard tests/lib/*.c)
TEST_LIB_OBJ := $(TEST_LIB_SRC:%.c=$(BUILD)/%.o)

.PHONY: all test clean help
all: $(BUILD)/panum ## the program (build/panum) and the library (build/libpanum.a)

$(BUILD)/libpanum.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/panum: $(APP_OBJ) $(BUILD)/libpanum.a
	$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $(APP_OBJ) $(BUILD)/libpanum.a $(LDLIBS)

# Vector sources are compiled once per instruction set, each with its own flags; on other machines they are empty.
ifneq (,$(findstring x86_64,$(ARCH)))
$(BUILD)/%_avx2.o: CFLAGS += -mavx2 -mfma -mf16c -ffp-contract=fast
$(BUILD)/%_avx512.o: CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512 -ffp-contract=fast
$(BUILD)/%_bf16.o: CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx2 -mfma -mprefer-vector-width=512 -ffp-contract=fast
endif

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIB_OBJ) $(BUILD)/libpanum.a
	$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) -o $@ $< $(TEST_LIB_OBJ) $(BUILD)/libpanum.a -lcmocka $(LDLIBS)

test: all $(TEST_BIN) ## builds and runs every test
	@sh tests/run.sh $(BUILD) $(TEST_BIN)

clean: ## removes the build folder
	rm -rf $(BUILD)

help: ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

-include $(LIB_OBJ:.o=.d) $(APP_OBJ:.o=.d) $(TEST_BIN:=.d) $(TEST_LIB_OBJ:.o=.d)
