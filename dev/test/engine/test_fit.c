// What a plan that does not fit is told: the figures, and the options that would, those that cost least
// first. A device that is none here plans as few bytes as the options leave.
#include "core/engine/fit.h"
#include "core/engine/offload.h"
#include "dev/test/support/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GB ((size_t)1000000000)

static size_t device_bytes, host_bytes; // that are free, and that a sequence takes of the host when offloaded
static size_t host_masters;             // that the model's weights and moments take there when offloaded

static size_t device_free(const Ranks *ranks) {
    (void)ranks;
    return device_bytes;
}

// A sequence takes 80 GB, recomputed 40 GB, offloaded 10 GB of the device; the model 5 GB, offloaded 2 GB.
static bool plan_made(const EngineConfig *config, MemoryPlan *plan, Error *error) {
    (void)error;
    double each = !config->recompute ? 80 : config->offload_activations ? 10 : 40;
    double sequences = (double)config->batch * (double)config->context / 1024;
    memset(plan, 0, sizeof *plan);
    plan->total = (config->offload_optimizer ? 2 : 5) * GB + (size_t)(each * sequences * 1e9);
    if (config->recompute && config->offload_activations)
        plan->host = (size_t)((double)host_bytes * sequences);
    if (config->offload_optimizer) plan->host += host_masters;
    return true;
}

static EngineApi device(void) {
    EngineApi api = *engine_cpu();
    api.name = "device";
    api.plan = plan_made;
    api.memory_available = device_free;
    return api;
}

static EngineConfig config_of(bool recompute, bool offload) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model.n_layers = 4;
    config.model.dim = 64;
    config.training = true;
    config.recompute = recompute;
    config.offload_activations = offload;
    config.batch = 1;
    config.micro_steps = 1;
    config.context = 1024;
    return config;
}

static bool check(const EngineConfig *config, size_t device_gb, size_t host, Error *error) {
    EngineApi api = device();
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    device_bytes = device_gb * GB;
    host_bytes = host;
    memset(error, 0, sizeof *error);
    bool ok = plan_made(config, plan, error) && fit_check(&api, config, plan, error);
    free(plan);
    return ok;
}

static void expect_advice(const EngineConfig *config, size_t device_gb, size_t host, const char *text) {
    Error error;
    expect_failed(check(config, device_gb, host, &error), &error, STATUS_MEMORY, text);
}

static void test_options_that_fit(void **state) {
    (void)state;
    Error error;
    EngineConfig plain = config_of(false, false), again = config_of(true, false);
    assert_true(check(&plain, 90, 0, &error));
    expect_advice(&plain, 80, 0, "; --recompute block would fit");
    expect_advice(&plain, 40, 0, "; --recompute block --offload activations would fit");
    expect_advice(&again, 40, 0, "; --offload activations would fit");
    plain.batch = again.batch = 6;
    plain.micro_steps = again.micro_steps = 2;
    expect_advice(&plain, 46, 0, "would fit is --batch 4 --recompute block --offload all");
    expect_advice(&again, 46, 0, "would fit is --batch 4 --offload all");
    plain.batch = 1;
    expect_advice(&plain, 7, 0, "--seq-len 512 --batch 1 --recompute block --offload all");
}

// Weights and moments go last, with what is offloaded before.
static void test_optimizer_fits(void **state) {
    (void)state;
    EngineConfig plain = config_of(false, false), again = config_of(true, false),
                 away = config_of(true, true);
    expect_advice(&plain, 84, 0, "; --recompute block would fit");
    plain.context = again.context = away.context = 512;
    expect_advice(&again, 23, 0, "; --offload activations would fit");
    expect_advice(&plain, 8, 0, "; --recompute block --offload all would fit");
    expect_advice(&again, 8, 0, "; --offload all would fit");
    expect_advice(&away, 8, 0, "; --offload all would fit");
    plain.context = again.context = 32; // whose weights and moments are all that matters
    again.offload_optimizer = true;
    expect_advice(&plain, 4, 0, "; --recompute block --offload optimizer would fit");
    expect_advice(&again, 2, 0, "; no --seq-len fits");
    host_masters = (size_t)1 << 60; // of which the host has less: then activations alone go there
    expect_advice(&plain, 4, 0, "; no --seq-len fits");
    expect_advice(&again, 10, 0, "; --offload none would fit");
    away.context = 1024;
    away.offload_optimizer = true;
    expect_advice(&away, 20, 0, "; --offload activations would fit");
    plain.context = 1024;
    expect_advice(&plain, 11, 0, "--seq-len 612 --batch 1 --recompute block --offload activations");
    plain.fp8 = true; // whole blocks of tokens
    expect_advice(&plain, 11, 0, "--seq-len 512 --batch 1 --recompute block --offload activations");
    host_masters = 0;
}

// The CPU engine has everything in host memory.
static void test_cpu_is_not_offloaded(void **state) {
    (void)state;
    EngineConfig config = config_of(false, false);
    config.model = (ModelConfig){4, 64, 2, 2, 64, 64, 264, 10000, 1e-5};
    config.batch = INT64_C(1) << 22;
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    assert_true(engine_cpu()->plan(&config, plan, &error));
    assert_false(fit_check(engine_cpu(), &config, plan, &error));
    assert_non_null(strstr(error.message, "--recompute block"));
    assert_null(strstr(error.message, "--offload"));
    free(plan);
}

// No machine has the host memory that is asked for here.
static void test_host(void **state) {
    (void)state;
    Error error;
    EngineConfig offloads = config_of(true, true), kept = config_of(false, false);
    const size_t none = (size_t)1 << 60;
    assert_true(check(&offloads, 20, 0, &error));
    expect_advice(&offloads, 50, none, "GB of host memory and ");
    expect_advice(&offloads, 50, none, "; --offload none would fit");
    expect_advice(&offloads, 20, none, "; no --seq-len fits");
    expect_advice(&kept, 20, none, "--seq-len 384 --batch 1 --recompute block"); // offloading is no way out
    expect_advice(&kept, 46, none, "; --recompute block would fit");
}

static void test_host_left(void **state) {
    (void)state;
    EngineApi api = device();
    EngineConfig config = config_of(true, true);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    plan->total = (size_t)1 << 60; // of the device
    assert_true(fit_host_left(&api, &config, plan) > 0);
    plan->host = (size_t)1 << 60;
    assert_true(fit_host_left(&api, &config, plan) == 0);
    free(plan);
}

// As many inputs as blocks, but that of the last.
static void test_bytes(void **state) {
    (void)state;
    EngineConfig config = config_of(true, true);
    assert_int_equal(offload_inputs(&config), 3);
    assert_true(offload_bytes(&config) == 3.0 * 1024 * 64 * 2);
    config.recompute = false;
    assert_int_equal(offload_inputs(&config), 0);
    config = config_of(true, false);
    assert_true(offload_bytes(&config) == 0);
    config = config_of(true, true);
    config.model.n_layers = 1;
    assert_int_equal(offload_inputs(&config), 0);
    config = config_of(true, true);
    config.training = false;
    assert_int_equal(offload_inputs(&config), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_that_fit),
        cmocka_unit_test(test_optimizer_fits),
        cmocka_unit_test(test_cpu_is_not_offloaded),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_host_left),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
