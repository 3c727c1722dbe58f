# Reads what a test program printed, and prints how many of its test functions passed, failed and were skipped.
# Variable: status, the program's exit status.
#
# The output is cmocka's, of any version. Closing lines differ ("3 test(s), listed below:" in 1.1.5, "ranks: 3 test(s), listed
# below:" in 1.1.7), some leave out tests whose setup failed, and standard error may stand before standard output. So of all
# that tells of failures the largest number counts. A program that ended badly beside its tests (a crash, a sanitizer's find), or
# before it had run all that it announced, has failed once more.
function number_before(words) {
    match($0, "[0-9]+ " words)
    return substr($0, RSTART) + 0
}
function larger(a, b) { return a > b ? a : b }

/^\[==========\] .*Running [0-9]+ test\(s\)/ { announced += number_before("test\\(s\\)") }
/^\[       OK \] / { passed++ }
/^\[  SKIPPED \] / && NF == 4 && !skipped_names[$4]++ { skipped++ }
/^\[  (FAILED  |ERROR   )\] / && NF == 4 && !failed_names[$4]++ { named++ }
/^\[  FAILED  \] .*[0-9]+ test\(s\)/ { listed += number_before("test\\(s\\)") }
/^ *[0-9]+ FAILED TEST\(S\)/ { closing += $1 }

END {
    failed = larger(named, larger(listed, closing))
    done = passed + failed + skipped
    if (status > 1 || announced > done || done == 0 || (status == 1 && failed == 0)) failed++
    print passed + 0, failed + 0, skipped + 0
}
