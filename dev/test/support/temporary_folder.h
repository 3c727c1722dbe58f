// A fresh folder that a test runs in: cmocka's set-up and tear-down of a test.
#ifndef TEST_TEMPORARY_FOLDER_H
#define TEST_TEMPORARY_FOLDER_H

#ifdef __cplusplus
extern "C" {
#endif

// Makes a folder, goes there, and keeps its name in *state.
int temporary_folder_enter(void **state);
// Goes back and removes the folder with all it holds.
int temporary_folder_leave(void **state);

#ifdef __cplusplus
}
#endif
#endif
