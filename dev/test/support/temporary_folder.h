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

// An entry of cmocka's table: a test that runs in such a folder.
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temporary_folder_enter, temporary_folder_leave)

#ifdef __cplusplus
}
#endif
#endif
