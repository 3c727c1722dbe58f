# How the CUDA engine is compiled and linked; the Makefile includes this file.
#   CUDA_ARCHS="90 100"   compute capabilities to build for; else those of the GPUs in this machine, else 90
#   CUDA_HOME=DIR         the CUDA toolkit; else where nvcc lies
#   CUDNN_FRONTEND=DIR    headers of cudnn-frontend 1.18, which scripts/fetch_cudnn_frontend.sh fetches
# cuDNN, cuBLAS and NCCL are looked for in the toolkit, in the system, and in the nvidia-* wheels of PYTHON (where
# they come with PyTorch).
comma := ,
PYTHON ?= python3
CUDNN_FRONTEND ?= third_party/cudnn_frontend

CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(realpath $(shell command -v $(NVCC))))
CUDA_ARCHS ?= $(or $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | \
                           grep -E '^[0-9]+\.[0-9]+$$' | tr -d . | sort -u), 90)

CUDA_WHEELS := $(shell $(PYTHON) -c 'import nvidia; print(*nvidia.__path__)' 2>/dev/null)
CUDA_ROOTS := $(CUDA_HOME) /usr /usr/local $(foreach dir,$(CUDA_WHEELS),$(wildcard $(dir)/cudnn $(dir)/cublas $(dir)/nccl $(dir)/cu13))
CUDA_INCLUDE_DIRS := $(addsuffix /include,$(CUDA_ROOTS)) /usr/include/$(shell uname -m)-linux-gnu
CUDA_LIB_DIRS := $(foreach dir,$(CUDA_ROOTS),$(dir)/lib64 $(dir)/lib $(dir)/lib/$(shell uname -m)-linux-gnu)

# $(call cuda_find,FILE,DIRS): the path of FILE in the first of DIRS that holds one with this name
cuda_find = $(firstword $(wildcard $(addsuffix /$(1),$(2))))
CUDA_HEADERS := $(foreach file,cuda_runtime.h cublasLt.h cudnn.h nccl.h,$(call cuda_find,$(file),$(CUDA_INCLUDE_DIRS)))
# By their full names: the wheels have no libcudnn.so that -lcudnn would find.
CUDA_LIBRARIES := $(foreach file,libcublasLt.so.1? libcudnn.so.9 libnccl.so.2,$(call cuda_find,$(file),$(CUDA_LIB_DIRS)))

ifneq ($(words $(CUDA_LIBRARIES)),3)
$(error the CUDA engine needs cuBLAS, cuDNN 9 and NCCL 2; found only: $(CUDA_LIBRARIES). Install what is missing, or build with `make CUDA=`)
endif

CUDA_INCLUDES := $(addprefix -isystem ,$(filter-out /usr/include/% /usr/local/include/%,$(sort $(dir $(CUDA_HEADERS)))))
# Libraries in wheels are on no path that the loader searches.
CUDA_RPATH := $(patsubst %/,-Wl$(comma)-rpath$(comma)%,$(sort $(dir $(filter $(addsuffix /%,$(CUDA_WHEELS)),$(CUDA_LIBRARIES)))))
CUDA_LDLIBS := $(CUDA_LIBRARIES) $(CUDA_RPATH) \
	$(call cuda_find,libcudart_static.a,$(CUDA_LIB_DIRS)) -ldl -lrt -lpthread -lstdc++ -lm

# Machine code for each GPU, and for later ones the portable code of the last.
CUDA_TARGETS := $(foreach arch,$(CUDA_ARCHS),-gencode=arch=compute_$(arch),code=sm_$(arch)) \
	-gencode=arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
NVCCFLAGS := -std=c++17 -O3 -g -lineinfo $(CUDA_TARGETS) -I. $(CUDA_INCLUDES) -DWITH_CUDA -D_GNU_SOURCE \
	-Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers,-fopenmp $(if $(fatal),-Werror all-warnings)

FRONTEND_FLAGS := -std=c++17 -O1 -g -Wall -Wextra -Wno-missing-field-initializers -Wshadow $(if $(fatal),-Werror) -I. -isystem $(CUDNN_FRONTEND)/include \
	$(CUDA_INCLUDES) -DCUDNN_FRONTEND_SKIP_JSON_LIB
ifneq ($(BUILDS),)
$(call stamp,cuda,$(NVCC) $(shell $(NVCC) --version 2>/dev/null | tail -n 1) $(NVCCFLAGS))
$(call stamp,frontend,$(CXX) $(shell $(CXX) --version 2>/dev/null | head -n 1) $(FRONTEND_FLAGS) \
	$(shell cksum $(CUDNN_FRONTEND)/include/cudnn_frontend_version.h 2>/dev/null) $(shell cksum $(call cuda_find,cudnn_version.h,$(CUDA_INCLUDE_DIRS)) </dev/null 2>/dev/null))
endif

$(BUILD)/%.o: %.cu $(FLAGS)/cuda
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) -MMD -MP -c -o $@ $<

# Apart from the one of the build without CUDA.
$(BUILD)/cuda/train_gpt_lighthouse.o: train_gpt_lighthouse.cu $(FLAGS)/cuda
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) -MMD -MP -c -o $@ $<

# No kernels in these, only C++ against large headers: half a minute, so the host's compiler, and little optimisation.
$(BUILD)/cuda/libraries/sdpa.o $(BUILD)/dev/bench/sdpa_plans.o: $(BUILD)/%.o: %.cu $(FLAGS)/frontend | $(CUDNN_FRONTEND)/include/cudnn_frontend.h
	@mkdir -p $(@D)
	$(CXX) -x c++ $(FRONTEND_FLAGS) -MMD -MP -c -o $@ $<

$(CUDNN_FRONTEND)/include/cudnn_frontend.h:
	@echo "no cudnn-frontend headers in $(CUDNN_FRONTEND): run scripts/fetch_cudnn_frontend.sh" >&2; exit 1

# The GPU against float64 on the CPU, and timings; needs a GPU to run.
$(BUILD)/gpu_sdpa: $(BUILD)/dev/test/cuda/gpu_sdpa.o $(BUILD)/dev/test/support/sdpa_reference.o $(BUILD)/cuda/libraries/sdpa.o \
		$(BUILD)/core/base/error.o
	$(CXX) -fopenmp -o $@ $(filter %.o,$^) $(CUDA_LDLIBS)

# What cuDNN offers for attention, timed; needs a GPU to run.
$(BUILD)/sdpa_plans: $(BUILD)/dev/bench/sdpa_plans.o $(BUILD)/core/base/error.o
	$(CXX) -o $@ $(filter %.o,$^) $(CUDA_LDLIBS)

CUDA_OBJECTS := $(patsubst %.cu,$(BUILD)/%.o,$(wildcard cuda/*/*.cu))
KERNEL_OBJECTS := $(filter $(BUILD)/cuda/kernels/%,$(CUDA_OBJECTS))

# Kernels and the whole engine against the CPU's; need a GPU to run.
$(BUILD)/test_gpu_kernels: $(patsubst %.cu,$(BUILD)/%.o,dev/test/cuda/gpu_kernels.cu $(wildcard dev/test/cuda/gpu_kernels/*.cu)) \
		$(KERNEL_OBJECTS) $(BUILD)/cuda/libraries/matmul.o $(OBJECTS)
	$(CXX) -fopenmp -o $@ $(filter %.o,$^) $(LDLIBS) $(CUDA_LDLIBS)
$(BUILD)/test_gpu_engine: $(BUILD)/dev/test/cuda/gpu_engine.o $(BUILD)/dev/test/support/golden.o \
		$(BUILD)/dev/test/support/golden_model.o $(CUDA_OBJECTS) $(OBJECTS)
	$(CXX) -fopenmp -o $@ $(filter %.o,$^) $(LDLIBS) $(CUDA_LDLIBS)

# One rank of dev/test/gpu_ranks.sh, which starts several under mpirun; each needs a GPU to run.
$(BUILD)/test_gpu_ranks: $(BUILD)/dev/test/cuda/gpu_ranks.o $(BUILD)/dev/test/support/numbers.o \
		$(patsubst %.c,$(BUILD)/%.o,$(filter-out dev/test/rank_worker/cpu.c,$(wildcard dev/test/rank_worker/*.c))) $(CUDA_OBJECTS) $(OBJECTS)
	$(CXX) -fopenmp -o $@ $(filter %.o,$^) $(LDLIBS) $(CUDA_LDLIBS)

# The Lighthouse layer against the CPU engine in float64, and timings; needs a GPU to run.
$(BUILD)/double/%.o: %.cu $(FLAGS)/cuda
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) -DLIGHTHOUSE_DOUBLE -MMD -MP -c -o $@ $<
$(BUILD)/test_lighthouse: $(BUILD)/double/test_lighthouse.o $(BUILD)/dev/test/support/golden.o $(KERNEL_OBJECTS) \
		$(BUILD)/cuda/engine/lighthouse.o $(BUILD)/cuda/libraries/sdpa.o $(DOUBLE)
	$(CXX) -fopenmp -o $@ $(filter %.o,$^) $(LDLIBS) $(CUDA_LDLIBS)
