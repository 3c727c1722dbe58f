// The table of families; see family.h.
#include "core/model/family.h"

const FamilyRow FAMILY_TABLE[FAMILY_COUNT] = {
#define FAMILY(ID, name, ...) {#name, __VA_ARGS__},
#include "core/model/families.def"
#undef FAMILY
};

const Choice FAMILY_CHOICES[] = {
#define FAMILY(ID, name, ...) {#name, FAMILY_##ID},
#include "core/model/families.def"
#undef FAMILY
    CHOICE_END};
