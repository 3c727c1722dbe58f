// libFuzzer's side: HARNESS=name build-fuzz/fuzz [options] [corpus folders, or inputs to run again].
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const Harness *chosen(void) {
    const char *name = getenv("HARNESS");
    const Harness *harness = name ? fuzz_harness(name) : NULL;
    if (harness) return harness;
    fprintf(stderr, "fuzz: set HARNESS to one of:");
    for (int i = 0; i < FUZZ_HARNESSES; i++) fprintf(stderr, " %s", fuzz_harnesses[i].name);
    fprintf(stderr, "\n");
    exit(STATUS_USAGE);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    const Harness *harness = chosen();
    size = seed % 3 ? LLVMFuzzerMutate(data, size, room) : fuzz_change_number(data, size, room, seed / 64);
    bool mend = harness->mend && seed % 8; // now and then a checksum stays wrong
    return mend ? harness->mend(data, size, room, seed / 8) : size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(chosen(), data, size);
    return 0;
}
