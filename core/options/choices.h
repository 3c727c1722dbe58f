// What options of type CHOICE may be: each list is its enum and its words.
#ifndef CORE_OPTIONS_CHOICES_H
#define CORE_OPTIONS_CHOICES_H

#include "core/base/choice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_ATTENTIONS(X)           \
    X(BENCH_BOTH, "both")             \
    X(BENCH_LIGHTHOUSE, "lighthouse") \
    X(BENCH_DENSE, "dense")
#define SCHEDULES(X)                 \
    X(SCHEDULE_CONSTANT, "constant") \
    X(SCHEDULE_LINEAR, "linear")     \
    X(SCHEDULE_COSINE, "cosine")     \
    X(SCHEDULE_WSD, "wsd")
#define DATA_ORDERS(X)                 \
    X(DATA_ORDER_SHUFFLED, "shuffled") \
    X(DATA_ORDER_PACKED, "packed")
#define DECAYS(X)          \
    X(DECAY_OF_ALL, "all") \
    X(DECAY_OF_MATRICES, "matrices")
#define DEVICES(X)         \
    X(DEVICE_AUTO, "auto") \
    X(DEVICE_CUDA, "cuda") \
    X(DEVICE_CPU, "cpu")
#define RECOMPUTES(X)         \
    X(RECOMPUTE_NONE, "none") \
    X(RECOMPUTE_BLOCK, "block")
#define MATMULS(X)         \
    X(MATMUL_BF16, "bf16") \
    X(MATMUL_FP8, "fp8")
#define ZERO_STAGES(X)   \
    X(ZERO_MOMENTS, "1") \
    X(ZERO_GRADIENTS, "2")
#define TOKEN_WIDTHS(X)        \
    X(TOKENS_NONE, "no")       \
    X(TOKENS_UINT16, "uint16") \
    X(TOKENS_UINT32, "uint32")

enum { BENCH_ATTENTIONS(CHOICE_VALUE) };
enum { SCHEDULES(CHOICE_VALUE) };
enum { DATA_ORDERS(CHOICE_VALUE) };
enum { DECAYS(CHOICE_VALUE) };
enum { DEVICES(CHOICE_VALUE) };
enum { RECOMPUTES(CHOICE_VALUE) };
enum { MATMULS(CHOICE_VALUE) };
enum { ZERO_STAGES(CHOICE_VALUE) };
enum { TOKEN_WIDTHS(CHOICE_VALUE) };

extern const Choice BENCH_ATTENTION_CHOICES[], SCHEDULE_CHOICES[], DATA_ORDER_CHOICES[], DECAY_CHOICES[],
    DEVICE_CHOICES[], RECOMPUTE_CHOICES[], MATMUL_CHOICES[], ZERO_CHOICES[], TOKEN_WIDTH_CHOICES[];

#ifdef __cplusplus
}
#endif
#endif
