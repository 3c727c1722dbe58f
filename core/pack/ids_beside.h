// What a file beside token ids says of them: Megatron's data.idx beside data.bin, datatrove's
// data.ds.metadata and data.ds.index beside data.ds.
#ifndef CORE_PACK_IDS_BESIDE_H
#define CORE_PACK_IDS_BESIDE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char *index;       // the file that counts ids; NULL: there is none
    char *boundaries;  // the file that counts documents; NULL: the same
    const char *type;  // of an id, as numpy names it; "" where it is not said
    int bytes;         // of an id of a type that is taken, else 0
    int64_t ids;       // that there are by its count; -1: it counts none
    int64_t documents; // likewise
} IdsBeside;

// Reads what lies beside the file of a path. Release with ids_beside_free.
IdsBeside ids_beside_megatron(const char *path);
IdsBeside ids_beside_datatrove(const char *path);
void ids_beside_free(IdsBeside *beside);

#ifdef __cplusplus
}
#endif
#endif
