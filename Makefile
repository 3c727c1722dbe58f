# make            the program, with the CPU engine, and the CUDA engine where nvcc is found (CUDA= leaves it out)
# make test       every test;  make test SAN=1  the same under address and undefined-behaviour sanitizers
# make test-gpu   the GPU against the CPU engine and the golden cases; needs a GPU
# make coverage   line coverage of core/, cpu/ and dataloader.h by the tests
# make fuzz       fuzzers of everything that reads strangers' files (dev/fuzz); needs clang
# make check-analysis  clang-tidy and gcc -fanalyzer over the host code
# make check-cxx  the host code as C++17;  make format  clang-format over everything
override SAN := $(filter-out 0,$(SAN))
override COVERAGE := $(filter-out 0,$(COVERAGE))
BUILD ?= build$(if $(SAN),-san)$(if $(COVERAGE),-coverage)
CC ?= gcc
MARCH ?= native

# Compilers to come warn of more: only WERROR=1, as .ci/run has it, takes warnings for errors.
WERROR ?=
fatal := $(filter-out 0,$(WERROR))
# What an initializer leaves out is zero, and means plain: a shape names what it has.
WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wno-missing-field-initializers $(if $(fatal),-Werror)
CFLAGS := -D_GNU_SOURCE -march=$(MARCH) -O3 -g -fno-math-errno -fopenmp $(WARNINGS)
LDLIBS := -lopenblas -ljansson -lxxhash -lz -lzstd -lpthread -lm

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

LIBRARY := $(wildcard core/*/*.c) $(wildcard cpu/*.c)
OBJECTS := $(LIBRARY:%.c=$(BUILD)/%.o)
# The CPU engine once more in float64: what the tests hold gradients and the GPU against.
DOUBLE := $(patsubst cpu/%.c,$(BUILD)/double/cpu/%.o,$(wildcard cpu/*.c)) $(patsubst %.c,$(BUILD)/%.o,$(wildcard core/*/*.c))
TEST_SOURCES := $(wildcard dev/test/*/test_*.c)
TESTS := $(patsubst %.c,$(BUILD)/%,$(notdir $(TEST_SOURCES)))
# The BLAS under other kernels is none of what sanitizers see.
SHELL_TESTS := $(filter-out $(if $(SAN),dev/test/scripts/test_core_types.sh),$(wildcard dev/test/scripts/test_*.sh))
SHIMS := $(wildcard dev/test/support/*_shim.c)
TEST_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(SHIMS),$(wildcard dev/test/support/*.c)))
DOUBLE_TESTS := $(BUILD)/test_gradients

all: $(BUILD)/train_gpt_lighthouse

# $(call stamp,NAME,TEXT): $(BUILD)/flags/NAME, which changes only when the text does. What is made by these words depends on it.
stamp = $(shell mkdir -p $(BUILD)/flags)$(file >$(BUILD)/flags/$(1).new,$(2))$(shell cd $(BUILD)/flags && \
	if cmp -s $(1).new $(1); then rm $(1).new; else mv $(1).new $(1); fi)
FLAGS := $(BUILD)/flags
BUILDS := $(filter-out clean format check-format,$(or $(MAKECMDGOALS),all))
ifneq ($(BUILDS),)
# The compiler, and what it takes "native" for: objects may lie in a folder that machines share.
COMPILER := $(shell $(CC) --version 2>/dev/null | head -n 1) $(shell $(CC) -march=$(MARCH) -Q --help=target 2>/dev/null | cksum)
$(call stamp,host,$(CC) $(COMPILER) $(CSTD) $(CFLAGS))
$(call stamp,mpi,$(MPI_INCLUDES) $(if $(MPI_NAME),$(shell pkg-config --modversion $(MPI_NAME))))
$(call stamp,link,$(CC) $(COMPILER) $(CFLAGS) $(LDLIBS))
endif

# With nvcc, cuDNN and the headers of cudnn-frontend the CUDA engine is built in; CUDA= leaves it out. The toolkit's
# installers leave nvcc off the path.
ifeq ($(origin NVCC),undefined)
NVCC := $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
endif
ifeq ($(origin CUDA)$(SAN)$(COVERAGE),undefined)
ifneq ($(if $(BUILDS),$(if $(wildcard third_party/cudnn_frontend/include),,$(shell command -v $(NVCC)))),)
$(warning nvcc is here, and no third_party/cudnn_frontend: the program gets the CPU engine alone. scripts/setup.sh fetches it; `make CUDA=` says that this is meant)
endif
endif
CUDA ?= $(if $(and $(shell command -v $(NVCC)),$(wildcard third_party/cudnn_frontend/include),$(if $(SAN)$(COVERAGE),,1)),1)
ifneq ($(filter-out 0 1,$(CUDA)),)
$(error CUDA=$(CUDA): 1 builds the CUDA engine in, 0 or nothing leaves it out)
endif
ifeq ($(CUDA),1)
include cuda/cuda.mk
LINK_PROGRAM = $(CXX) -fopenmp -o $@ $(filter %.o,$^) $(LDLIBS) $(CUDA_LDLIBS)
MAIN := $(BUILD)/cuda/train_gpt_lighthouse.o $(CUDA_OBJECTS)
else
LINK_PROGRAM = $(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(LDLIBS)
MAIN := $(BUILD)/train_gpt_lighthouse.o
endif
ifneq ($(BUILDS),)
$(call stamp,program,$(MAIN) $(COMPILER) $(LINK_PROGRAM))
endif
$(BUILD)/train_gpt_lighthouse: $(MAIN) $(OBJECTS) $(FLAGS)/program
	$(LINK_PROGRAM)

$(BUILD)/train_gpt_lighthouse.o: train_gpt_lighthouse.cu $(FLAGS)/host
	@mkdir -p $(@D)
	$(CC) -x c $(CSTD) $(CFLAGS) -I. -MMD -MP -c -o $@ $<

# The weights drawn from a seed are the same on every machine: no fused multiply-add in their arithmetic.
$(BUILD)/core/base/random.o: CFLAGS += -ffp-contract=off

MPI_OBJECTS := $(addprefix $(BUILD)/core/ranks/,ranks.o ranks_fail.o ranks_mpi.o ranks_watch.o collectives_mpi.o)
$(MPI_OBJECTS): CFLAGS += $(MPI_INCLUDES)
$(MPI_OBJECTS): $(FLAGS)/mpi

$(BUILD)/%.o: %.c $(FLAGS)/host
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(CFLAGS) -I. -MMD -MP -c -o $@ $<

$(BUILD)/double/%.o: %.c $(FLAGS)/host
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(CFLAGS) -DLIGHTHOUSE_DOUBLE -I. -MMD -MP -c -o $@ $<

# A test lies in the room of what it tests, its program beside all others.
$(foreach source,$(filter-out %/test_gradients.c,$(TEST_SOURCES)),$(eval \
	$(BUILD)/$(notdir $(source:.c=)): $(BUILD)/$(source:.c=.o) $(OBJECTS)))
$(DOUBLE_TESTS): $(BUILD)/double/dev/test/cpu/test_gradients.o $(DOUBLE)
$(TESTS): $(TEST_SUPPORT) $(FLAGS)/link
	$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) -lcmocka $(LDLIBS)

# This one, and fp8_error, look at every call of these.
MATMULS := cpu_matmul_forward cpu_matmul_backward_input cpu_matmul_backward_weight
$(BUILD)/test_fp8: LDLIBS += $(MATMULS:%=-Wl,--wrap=%)

# One rank of test_ranks, which starts several under mpirun.
$(BUILD)/rank_worker: $(patsubst %.c,$(BUILD)/%.o,$(wildcard dev/test/rank_worker/*.c)) $(BUILD)/dev/test/support/numbers.o $(OBJECTS) $(FLAGS)/link
	$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(LDLIBS)

# The error of FP8 products (dev/results/fp8.md): the program, with a look at every call of cpu/matmul.c.
$(BUILD)/fp8_error: $(BUILD)/dev/bench/fp8_error.o $(BUILD)/train_gpt_lighthouse.o $(OBJECTS) $(FLAGS)/link
	$(CC) $(CFLAGS) -Wl,--wrap=main $(MATMULS:%=-Wl,--wrap=%) -o $@ $(filter %.o,$^) $(LDLIBS)

# What tests put before the libraries of the program; never part of one.
$(BUILD)/%_shim.so: dev/test/support/%_shim.c $(FLAGS)/host
	@mkdir -p $(@D)
	$(CC) $(CSTD) -D_GNU_SOURCE -O2 -g $(WARNINGS) -fPIC -shared -o $@ $< -ldl

tests: $(TESTS) $(BUILD)/rank_worker $(BUILD)/fp8_error $(SHIMS:dev/test/support/%.c=$(BUILD)/%.so)
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

HOST_SOURCES := $(LIBRARY) $(wildcard dev/test/*/*.c dev/fuzz/*.c)
check-cxx:
	@for f in $(HOST_SOURCES); do echo "c++17 $$f"; \
	  g++ -x c++ -std=c++17 -D_GNU_SOURCE -fopenmp $(WARNINGS) -Werror -I. $(MPI_INCLUDES) -fsyntax-only $$f || exit 1; done
	g++ -x c++ -std=c++17 -D_GNU_SOURCE -fopenmp $(WARNINGS) -Werror -I. -fsyntax-only train_gpt_lighthouse.cu

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
