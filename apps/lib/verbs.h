/* apps/lib/verbs.h - the verbs this program was linked with: all of them in `panum`, one in `panum-match` and the like.
 * main.c has the list; a new verb is one line there and one file apps/VERB.c that defines app_VERB and verb_VERB. */
#ifndef PANUM_APPS_LIB_VERBS_H
#define PANUM_APPS_LIB_VERBS_H
#include "apps/lib/options.h"

extern const Verb *const program_verbs[];
extern const int program_verb_count;
const Verb *program_find_verb(const char *name); /* NULL with ERR_USAGE and the nearest name in the sentence */
#endif
