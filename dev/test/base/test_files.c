// Files: paths, folders, whole files written durably, lists and patterns.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/temporary_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void assert_text(char *text, const char *expected) {
    assert_string_equal(text, expected);
    free(text);
}

static void test_paths(void **state) {
    (void)state;
    assert_text(path_join("a", "b"), "a/b");
    assert_text(path_join("a/", "b"), "a/b");
    assert_text(path_join("", "b"), "b");
    assert_text(path_join("/", "b"), "/b");
    assert_text(path_parent("a/b/c"), "a/b");
    assert_text(path_parent("a/b//"), "a");
    assert_text(path_parent("a//b"), "a");
    assert_text(path_parent("b"), ".");
    assert_text(path_parent("/b"), "/");
    assert_text(path_parent("/"), "/");
    assert_string_equal(path_name("a/b"), "b");
    assert_string_equal(path_name("b"), "b");
}

// In a process whose standard streams are closed, a file must not become one of them.
static void test_streams(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        close(STDERR_FILENO + 1); // which whoever started the test may have left open
        streams_open();
        _exit(open("/dev/null", O_RDONLY) == STDERR_FILENO + 1 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_folders(void **state) {
    (void)state;
    Error error;
    assert_true(folders_make("a/b//c/", &error));
    assert_true(folder_exists("a/b/c"));
    assert_false(file_exists("a/b/c"));
    assert_true(folders_make("a/b/c", &error));
    char here[4096], path[4200];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(path, sizeof path, "%s/x/y", here);
    assert_true(folders_make(path, &error));
    assert_true(folder_exists("x/y"));
    assert_true(file_write("a/b/file", "text", 4, &error));
    assert_true(file_exists("a/b/file"));
    assert_false(folder_exists("a/b/file"));
    expect_failed(folders_make("a/b/file/d", &error), &error, STATUS_DATA, "cannot make the folder a/b/file");
    assert_int_equal(symlink("nowhere", "a/dangling"), 0);
    expect_failed(folders_make("a/dangling", &error), &error, STATUS_DATA,
                  "cannot make the folder a/dangling: a link that leads nowhere is in its place");
    assert_int_equal(symlink("../x", "a/link"), 0);
    assert_true(tree_remove("a", &error));
    assert_false(folder_exists("a"));
    assert_true(folder_exists("x/y")); // what a link leads to stays
    assert_true(tree_remove("a", &error));
    expect_failed(folder_sync("a", &error), &error, STATUS_DATA, "cannot sync the folder a: No such file");
}

static void test_write_and_read(void **state) {
    (void)state;
    Error error;
    size_t size;
    assert_true(file_write("f", "first text", 10, &error));
    assert_true(file_write("f", "a\0b", 3, &error));
    assert_false(file_exists(".f.lighthouse"));
    char *text = file_read("f", 3, &size, &error);
    assert_non_null(text);
    assert_int_equal(size, 3);
    assert_memory_equal(text, "a\0b", 4);
    free(text);
    expect_failed(file_read("f", 2, &size, &error) != NULL, &error, STATUS_DATA,
                  "f is too large: 3 bytes where at most 2");
    expect_failed(file_read("g", 9, &size, &error) != NULL, &error, STATUS_DATA,
                  "cannot open g: No such file");
    expect_failed(file_read(".", 1 << 20, &size, &error) != NULL, &error, STATUS_DATA,
                  "cannot read .: it is a folder");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    expect_failed(file_read("pipe", 9, &size, &error) != NULL, &error, STATUS_DATA,
                  "cannot read pipe: it is a pipe or device");
    assert_true(file_write("empty", NULL, 0, &error));
    text = file_read("empty", 0, &size, &error);
    assert_int_equal(size, 0);
    assert_text(text, "");
}

// A target that cannot be replaced stays as it was, and no temporary file is left.
static void test_write_fails_whole(void **state) {
    (void)state;
    Error error;
    expect_failed(file_write("no/f", "x", 1, &error), &error, STATUS_DATA,
                  "cannot create no/f: No such file");
    assert_true(folders_make("f/inside", &error));
    expect_failed(file_write("f", "x", 1, &error), &error, STATUS_DATA, "cannot rename ./.f.lighthouse to f");
    assert_false(file_exists(".f.lighthouse"));
    assert_true(folder_exists("f/inside"));
    expect_failed(path_rename("missing", "g", &error), &error, STATUS_DATA,
                  "cannot rename missing to g: No such file");
    assert_true(path_rename("f", "g", &error));
    assert_true(folder_exists("g/inside"));
}

// What is there by this very name goes before what matches it.
static void test_odd_folders(void **state) {
    (void)state;
    Error error;
    PathList list;
    static const char *const files[] = {"d?e/x_1", "dxe/x_1", "d\\e/x_2"};
    static const char *const patterns[][2] = {
        {"d?e/x_1", "d?e/x_1"}, {"d?e/x_*", "d?e/x_1"}, {"d\\e/x_*", "d\\e/x_2"}, {"dxe/x_?", "dxe/x_1"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *folder = path_parent(files[i]);
        assert_true(folders_make(folder, &error) && file_write(files[i], "", 0, &error));
        free(folder);
    }
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        assert_true(paths_glob(patterns[i][0], &list, &error));
        assert_int_equal(list.count, 1);
        assert_string_equal(list.paths[0], patterns[i][1]);
        paths_free(&list);
    }
    assert_true(tree_remove("d?e", &error) && tree_remove("dxe", &error) && tree_remove("d\\e", &error));
}

static void test_lists(void **state) {
    (void)state;
    Error error;
    PathList list;
    static const char *const names[] = {"b_10", "b_9", "B_1", "a[1]", ".b_0", "b_1"};
    for (int i = 0; i < 6; i++) assert_true(file_write(names[i], "", 0, &error));
    assert_true(paths_glob("b_*", &list, &error));
    assert_int_equal(list.count, 3);
    assert_string_equal(list.paths[0], "b_1");
    assert_string_equal(list.paths[1], "b_10");
    assert_string_equal(list.paths[2], "b_9");
    paths_free(&list);
    assert_true(paths_glob("a[1]", &list, &error)); // as it stands
    assert_int_equal(list.count, 1);
    paths_free(&list);
    assert_true(folders_make("d[1]", &error) && folders_make("d1", &error));
    assert_true(file_write("d[1]/x_0", "", 0, &error) && file_write("d1/y_0", "", 0, &error));
    assert_true(paths_glob("d[1]/x_*", &list, &error)); // the folder as it stands
    assert_int_equal(list.count, 1);
    assert_string_equal(list.paths[0], "d[1]/x_0");
    paths_free(&list);
    assert_true(folder_match("d[1]", "*_0", &list, &error));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.paths[0], "d[1]/x_0");
    paths_free(&list);
    assert_true(tree_remove("d[1]", &error) && tree_remove("d1", &error));
    assert_true(paths_glob("c*", &list, &error));
    assert_int_equal(list.count, 0);
    paths_free(&list);
    assert_true(folder_list(".", &list, &error));
    assert_int_equal(list.count, 6);
    assert_string_equal(list.paths[0], ".b_0");
    assert_string_equal(list.paths[1], "B_1");
    paths_free(&list);
    expect_failed(folder_list("none", &list, &error), &error, STATUS_DATA,
                  "cannot list the folder none: No such file");
}

// A shell's ** goes through folders of any depth: what would be missing here is told.
static void test_any_depth(void **state) {
    (void)state;
    Error error;
    PathList list;
    static const char *const deep[] = {"**/x_*", "a/**/x_*", "a/**", "/**"};
    assert_true(folders_make("a/b", &error) && file_write("a/x_0", "", 0, &error));
    assert_true(file_write("a/b/x_1", "", 0, &error));
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++)
        expect_failed(paths_glob(deep[i], &list, &error), &error, STATUS_USAGE,
                      "** for folders of any depth");
    assert_true(paths_glob("a/x_**", &list, &error)); // in a name it is one *
    assert_int_equal(list.count, 1);
    paths_free(&list);
    assert_true(folders_make("**", &error) && file_write("**/x_2", "", 0, &error));
    assert_true(paths_glob("**/x_*", &list, &error)); // the folder as it stands
    assert_int_equal(list.count, 1);
    paths_free(&list);
    assert_true(tree_remove("a", &error) && tree_remove("**", &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams), cmocka_unit_test(test_paths),      IN_FOLDER(test_folders),
        IN_FOLDER(test_write_and_read), IN_FOLDER(test_write_fails_whole), IN_FOLDER(test_odd_folders),
        IN_FOLDER(test_lists),          IN_FOLDER(test_any_depth),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
