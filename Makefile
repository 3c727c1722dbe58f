# make            the program, with the CPU engine, and the CUDA engine where nvcc is found (CUDA= leaves it out)
# make test       every test;  make test SAN=1  the same under address and undefined-behaviour sanitizers
# make test-gpu   the GPU against the CPU engine and the golden cases; needs a GPU
# make coverage   line coverage of core/, cpu/ and dataloader.h by the tests
# make fuzz       fuzzers of everything that reads strangers' files (dev/fuzz); needs clang
# make check-analysis  clang-tidy and gcc -fanalyzer over the host code
# make check-cxx  the host code as C++17;  make format  clang-format over everything
BUILD ?= build$(if $(SAN),-san)$(if $(COVERAGE),-coverage)
CC ?= gcc
MARCH ?= native

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Werror
CFLAGS := -D_GNU_SOURCE -march=$(MARCH) -O3 -g -fno-math-errno -fopenmp $(WARNINGS)
LDLIBS := -lopenblas -ljansson -lxxhash -lz -lpthread -lm

# Open MPI: by pkg-config, or by its compiler's own word. Its headers count as a system's, free of our warnings.
MPI_NAME := $(firstword $(foreach name,ompi-c ompi,$(shell pkg-config --exists $(name) 2>/dev/null && echo $(name))))
MPI_FLAGS := $(if $(MPI_NAME),$(shell pkg-config --cflags $(MPI_NAME)),$(shell mpicc --showme:compile 2>/dev/null))
MPI_LIBS := $(if $(MPI_NAME),$(shell pkg-config --libs $(MPI_NAME)),$(shell mpicc --showme:link 2>/dev/null))
MPI_INCLUDES := $(patsubst -I%,-isystem %,$(MPI_FLAGS))
LDLIBS += $(MPI_LIBS)
ifeq ($(MPI_LIBS)$(filter clean format check-format,$(MAKECMDGOALS)),)
$(error Open MPI is missing, which connects ranks: run scripts/setup.sh, or install libopenmpi-dev and openmpi-bin)
endif
ifdef SAN
CFLAGS += -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifdef COVERAGE
CFLAGS += -O1 --coverage
endif
CSTD := -std=c11 -Wpedantic

LIBRARY := $(wildcard core/*.c) $(wildcard cpu/*.c)
OBJECTS := $(LIBRARY:%.c=$(BUILD)/%.o)
# The CPU engine once more in float64: what the tests hold gradients and the GPU against.
DOUBLE := $(patsubst cpu/%.c,$(BUILD)/double/cpu/%.o,$(wildcard cpu/*.c)) $(patsubst %.c,$(BUILD)/%.o,$(wildcard core/*.c))
TESTS := $(patsubst dev/test/%.c,$(BUILD)/%,$(wildcard dev/test/test_*.c))
SHELL_TESTS := $(wildcard dev/test/test_*.sh)
FAULT_SHIM := dev/test/support/fault_shim.c
TEST_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(FAULT_SHIM),$(wildcard dev/test/support/*.c)))
DOUBLE_TESTS := $(BUILD)/test_gradients

all: $(BUILD)/train_gpt_lighthouse

# With nvcc, cuDNN and the headers of cudnn-frontend the CUDA engine is built in; CUDA= leaves it out. The toolkit's
# installers leave nvcc off the path.
ifeq ($(origin NVCC),undefined)
NVCC := $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
endif
CUDA ?= $(if $(and $(shell command -v $(NVCC)),$(wildcard third_party/cudnn_frontend/include),$(if $(SAN)$(COVERAGE),,1)),1)
ifeq ($(CUDA),1)
include cuda/cuda.mk
$(BUILD)/train_gpt_lighthouse: $(BUILD)/train_gpt_lighthouse.o $(OBJECTS) $(CUDA_OBJECTS)
	$(CXX) -fopenmp -o $@ $^ $(LDLIBS) $(CUDA_LDLIBS)
else
$(BUILD)/train_gpt_lighthouse: $(BUILD)/train_gpt_lighthouse.o $(OBJECTS)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/train_gpt_lighthouse.o: train_gpt_lighthouse.cu
	@mkdir -p $(@D)
	$(CC) -x c $(CSTD) $(CFLAGS) -I. -MMD -MP -c -o $@ $<
endif

# The weights drawn from a seed are the same on every machine: no fused multiply-add in their arithmetic.
$(BUILD)/core/random.o: CFLAGS += -ffp-contract=off

$(BUILD)/core/ranks.o $(BUILD)/core/ranks_watch.o $(BUILD)/core/collectives_mpi.o: CFLAGS += $(MPI_INCLUDES)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(CFLAGS) -I. -MMD -MP -c -o $@ $<

$(BUILD)/double/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(CFLAGS) -DLIGHTHOUSE_DOUBLE -I. -MMD -MP -c -o $@ $<

$(DOUBLE_TESTS): $(BUILD)/test_%: $(BUILD)/double/dev/test/test_%.o $(TEST_SUPPORT) $(DOUBLE)
	$(CC) $(CFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(BUILD)/test_%: $(BUILD)/dev/test/test_%.o $(TEST_SUPPORT) $(OBJECTS)
	$(CC) $(CFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# One rank of test_ranks, which starts several under mpirun.
$(BUILD)/rank_worker: $(patsubst %.c,$(BUILD)/%.o,$(wildcard dev/test/ranks/*.c)) $(BUILD)/dev/test/support/numbers.o $(OBJECTS)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# What test_faults puts before the C library of the program; never part of one.
$(BUILD)/fault_shim.so: $(FAULT_SHIM)
	@mkdir -p $(@D)
	$(CC) $(CSTD) -D_GNU_SOURCE -O2 -g $(WARNINGS) -fPIC -shared -o $@ $< -ldl

tests: $(TESTS) $(BUILD)/rank_worker $(BUILD)/fault_shim.so
test: $(BUILD)/train_gpt_lighthouse tests
	@BUILD=$(BUILD) dev/test/run.sh $(TESTS) $(SHELL_TESTS)

GPU_TESTS := $(addprefix $(BUILD)/,gpu_sdpa test_gpu_kernels test_lighthouse test_gpu_engine test_gpu_ranks sdpa_plans)
gpu-tests: $(GPU_TESTS)
test-gpu: $(BUILD)/train_gpt_lighthouse gpu-tests
	$(BUILD)/gpu_sdpa check
	$(BUILD)/test_gpu_kernels
	$(BUILD)/test_lighthouse --golden $(wildcard dev/test/golden/*_p*)
	$(BUILD)/test_gpu_engine
	dev/test/gpu_program.sh $(BUILD)/train_gpt_lighthouse
	dev/test/gpu_soak.sh $(BUILD)/train_gpt_lighthouse
	dev/test/gpu_ranks.sh $(BUILD)

include dev/fuzz/fuzz.mk
include dev/analysis/analysis.mk

coverage:
	@command -v gcovr >/dev/null || { echo "make coverage needs gcovr (apt-get install gcovr)" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(MAKE) COVERAGE=1 BUILD=build-coverage test # threads would fight over the counters
	gcovr --root . --filter 'core/' --filter 'cpu/' --filter 'dataloader.h' --exclude-directories '.*double.*' build-coverage

HOST_SOURCES := $(LIBRARY) $(wildcard dev/test/*.c dev/test/support/*.c dev/test/ranks/*.c dev/fuzz/*.c)
check-cxx:
	@for f in $(HOST_SOURCES); do echo "c++17 $$f"; \
	  g++ -x c++ -std=c++17 -D_GNU_SOURCE -fopenmp $(WARNINGS) -I. $(MPI_INCLUDES) -fsyntax-only $$f || exit 1; done
	g++ -x c++ -std=c++17 -D_GNU_SOURCE -fopenmp $(WARNINGS) -I. -fsyntax-only train_gpt_lighthouse.cu

FORMATTED = $(shell git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.def')
format:
	clang-format -i $(FORMATTED)
check-format:
	clang-format --dry-run -Werror $(FORMATTED)

clean:
	rm -rf build build-san build-coverage build-fuzz

.PHONY: all tests test gpu-tests test-gpu coverage check-cxx format check-format clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
