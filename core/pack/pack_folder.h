// The folder that `pack` writes into, and in it the hidden one in which shards and spills are made: nothing
// of anybody else is overwritten or removed, and nothing half done stays.
#ifndef CORE_PACK_PACK_FOLDER_H
#define CORE_PACK_PACK_FOLDER_H

#include "core/base/error.h"
#include "core/pack/pack_guard.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *out;
    char *work;
    int lock;  // on the working folder: what a killed run left is told from one that is running; -1: not ours
    bool made; // `out` was not there before
    bool full; // it has its shards
    PackGuard guard;
} PackFolder;

// Status 2 where a folder holds shards already: asked before any input is read.
bool pack_folder_check(const char *out, Error *error);

// Makes both folders, and from here on a signal that ends the program removes what was made. What an ended
// `pack` has left in the working folder is removed, with a warning. Status 2 where the folder has shards,
// where another `pack` works in it, or where the working folder holds what is not from `pack`.
bool pack_folder_open(PackFolder *folder, const char *out, Error *error);

// Status 3 where the disk has far less room than the bytes that will about be written; a warning where it has
// less.
bool pack_folder_check_room(const PackFolder *folder, double bytes, Error *error);

// Moves shards out of the working folder by `move`, all or none: `undo` follows a failure.
bool pack_folder_publish(PackFolder *folder, bool (*move)(void *shards, Error *error),
                         void (*undo)(void *shards), void *shards, Error *error);

// Removes everything temporary, and an `out` that was made for nothing; suits a folder whose opening failed.
void pack_folder_close(PackFolder *folder);

// What lies in the working folder of `out`.
typedef struct {
    int64_t files, bytes;
    bool running; // a `pack` works in it
} PackLeft;

// False where there is none.
bool pack_folder_left(const char *out, PackLeft *left);

#ifdef __cplusplus
}
#endif
#endif
