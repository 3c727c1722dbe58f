// The stages of a run; see engine.h.
#include "core/engine/engine.h"

const Choice ATTENTION_CHOICES[] = {ATTENTIONS(CHOICE_ROW) CHOICE_END};

const char *attention_name(Attention attention) {
    return choice_name(ATTENTION_CHOICES, attention);
}

bool attention_parse(const char *name, Attention *attention) {
    int value;
    if (!choice_find(ATTENTION_CHOICES, name, &value)) return false;
    *attention = (Attention)value;
    return true;
}
