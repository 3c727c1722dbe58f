# make fuzz [SECONDS=60] [FUZZ="shard words"]   libFuzzer on the readers of strangers' files, one after the other
FUZZ_BUILD := build-fuzz
FUZZ_CC ?= clang
FUZZ_FLAGS := -D_GNU_SOURCE -DTEXT_BLOCK=200 -DTEXT_READ=70 -DTEXT_ZSTD_WINDOW=20 -std=c11 -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all $(WARNINGS) \
              -Wno-unknown-pragmas -Wno-missing-field-initializers
SECONDS ?= 60

HARNESSES := $(filter-out dev/fuzz/fuzzer.c dev/fuzz/make_corpus.c,$(wildcard dev/fuzz/*.c))
HARNESS_OBJECTS := $(HARNESSES:%.c=$(BUILD)/%.o)
FUZZ_SOURCES := $(LIBRARY) $(HARNESSES) dev/fuzz/fuzzer.c dev/test/support/fake_engine.c

fuzz: $(FUZZ_BUILD)/fuzz
	dev/fuzz/run.sh $< $(SECONDS) $(FUZZ)

fuzz-compiler:
	@echo 'int main(void){return 0;}' | $(FUZZ_CC) -x c - -fsanitize=address,undefined -o /dev/null 2>/dev/null || \
	  { echo "make fuzz needs clang and its sanitizers (apt-get install clang libclang-rt-14-dev, or the version of your clang)" >&2; exit 1; }

$(FUZZ_BUILD)/fuzz: $(FUZZ_SOURCES:%.c=$(FUZZ_BUILD)/%.o)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS) $(shell $(CC) -print-file-name=libgomp.so)

$(FUZZ_BUILD)/%.o: %.c | fuzz-compiler
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -I. $(MPI_INCLUDES) -MMD -MP -c -o $@ $<

# Writes the seeds of dev/fuzz/corpus anew.
fuzz-corpus: $(BUILD)/make_corpus
	$< dev/fuzz/corpus

$(BUILD)/make_corpus: $(BUILD)/dev/fuzz/make_corpus.o $(HARNESS_OBJECTS) $(BUILD)/dev/test/support/fake_engine.o $(OBJECTS)
	$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(LDLIBS)

# Seeds and past crashes are fed to the harnesses by the tests too.
$(BUILD)/test_fuzz $(BUILD)/test_paths $(BUILD)/test_run_data: $(HARNESS_OBJECTS)

.PHONY: fuzz fuzz-compiler fuzz-corpus
-include $(shell find $(FUZZ_BUILD) -name '*.d' 2>/dev/null)
