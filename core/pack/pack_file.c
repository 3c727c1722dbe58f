// A file that `pack` reads; see pack_file.h.
#include "core/pack/pack_file.h"

#include <stdarg.h>
#include <stdio.h>

void pack_refuse(PackRefusal *refusal, const char *what, const char *why, ...) {
    refusal->what = what;
    va_list values;
    va_start(values, why);
    vsnprintf(refusal->why, sizeof refusal->why, why, values);
    va_end(values);
}
