# make check-analysis   clang-tidy (.clang-tidy) and gcc -fanalyzer on the host code; files that did not change since the last
#                       clean pass are not looked at again
TIDY ?= clang-tidy
ANALYSED := $(LIBRARY) $(wildcard dev/test/*/*.c dev/fuzz/*.c) train_gpt_lighthouse.cu
ANALYSIS_STAMPS := $(ANALYSED:%=build/analysis/%.clean)
# Without OpenMP: gcc's analyser takes the variables that threads share for uninitialised ones.
ANALYSIS_FLAGS = -D_GNU_SOURCE $(CSTD) -I. $(MPI_INCLUDES) $(if $(filter core/base/error.c core/ranks/ranks.c,$<),,-include dev/analysis/error_returns.h) \
                 $(if $(shell grep -s cmocka.h $<),-include dev/analysis/cmocka_asserts.h)

# gcc takes what a function that returns a structure has filled in for uninitialised here.
build/analysis/dev/test/report/test_report.c.clean build/analysis/dev/test/pack/test_json_lines.c.clean: ANALYSIS_LESS := -Wno-analyzer-use-of-uninitialized-value

check-analysis: $(ANALYSIS_STAMPS)

build/analysis/%.clean: % .clang-tidy dev/test/.clang-tidy $(wildcard dev/analysis/*) | analysers
	@mkdir -p $(@D)
	@echo "analysis $<"
	@$(CC) -x c $(ANALYSIS_FLAGS) -O1 -fanalyzer $(WARNINGS) -Werror -Wno-unknown-pragmas -Wno-unused-value $(ANALYSIS_LESS) -MMD -MP -MF $(@:.clean=.d) -MT $@ -c -o /dev/null $<
	@$(TIDY) --quiet $< -- -x c $(ANALYSIS_FLAGS) -fopenmp 2>/dev/null
	@touch $@

analysers:
	@command -v $(TIDY) >/dev/null || { echo "make check-analysis needs clang-tidy (apt-get install clang-tidy)" >&2; exit 1; }

.PHONY: check-analysis analysers
-include $(shell find build/analysis -name '*.d' 2>/dev/null)
