// The links between GPUs: the rates that the prediction (core/cost/predict.h) assumes, or those that `info
// --links` has measured in their place, and what an exchange takes at them.
#ifndef CORE_COST_LINKS_H
#define CORE_COST_LINKS_H

#include "core/base/choice.h"
#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

// Among whom is measured: the ranks of each host, one rank of every host, all. Of one host all are
// LINKS_HOST.
#define LINK_GROUPS(X)                      \
    X(LINKS_HOST, "ranks of a host")        \
    X(LINKS_HOSTS, "hosts, a rank of each") \
    X(LINKS_ALL, "all ranks")
typedef enum { LINK_GROUPS(CHOICE_VALUE) LINK_GROUP_COUNT } LinkGroup;
extern const char *const LINK_GROUP_NAMES[LINK_GROUP_COUNT];

// A sum is a reduce-scatter and an all-gather, as an update makes them; an exchange is an all-to-all.
#define LINK_OPERATIONS(X)    \
    X(LINK_SUM, "all-reduce") \
    X(LINK_EXCHANGE, "all-to-all")
typedef enum { LINK_OPERATIONS(CHOICE_VALUE) LINK_OPERATION_COUNT } LinkOperation;
extern const char *const LINK_OPERATION_NAMES[LINK_OPERATION_COUNT];

typedef struct {
    double rate;    // bytes a second that a rank sends
    double latency; // seconds of an exchange, or of each of the steps of a ring, beside its bytes
    bool measured;
} Link;

// Within a host and between hosts; there the rate is that of one network adapter, and each GPU has one.
typedef struct {
    Link inside[LINK_OPERATION_COUNT], between[LINK_OPERATION_COUNT];
} Links;

extern const Links LINKS_ASSUMED;

// The ring through so many ranks, a half of a sum: NCCL lays as many rings as there are network adapters, so
// that those of a host carry them together.
Link links_ring(const Links *links, int ranks, int ranks_per_host);

// Seconds in which each of these ranks sends `bytes` to the others in so many exchanges. What goes to other
// hosts takes each rank's own network adapter.
double links_exchange_seconds(const Links *links, double bytes, double exchanges, int ranks,
                              int ranks_per_host);

// Seconds of one operation in which a rank sends so many bytes.
double links_seconds(const Links *links, LinkOperation operation, double bytes, int ranks,
                     int ranks_per_host);

// The rows that `info --links` has printed, in place of what is assumed; of several measurements in one file
// the mean. Error (status 3) where a line is no such row, or there is none.
bool links_read(const char *path, Links *links, Error *error);

#ifdef __cplusplus
}
#endif
#endif
