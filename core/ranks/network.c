// What the environment tells about the network; see network.h.
#include "core/ranks/network.h"

#include "core/base/error.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_of_network(const char *variable) {
    static const char *const names[] = {"NCCL_", "OMPI_MCA_btl_tcp_", "OMPI_MCA_oob_tcp_if_"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *network_variables(void) {
    size_t count = 0, size = 1;
    for (char **at = environ; at && *at; at++) count += is_of_network(*at);
    char **found = (char **)alloc_or_exit(count + 1, sizeof *found);
    count = 0;
    for (char **at = environ; at && *at; at++) {
        if (!is_of_network(*at)) continue;
        found[count++] = *at;
        size += strlen(*at) + 1;
    }
    qsort(found, count, sizeof *found, by_name);
    char *text = (char *)alloc_or_exit(size, 1), *end = text;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(found[i]);
        if (i > 0) *end++ = ' ';
        memcpy(end, found[i], length);
        end += length;
    }
    free(found);
    return text;
}
