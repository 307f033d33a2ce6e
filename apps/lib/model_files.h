/* apps/lib/model_files.h - where weights are looked for, and under which names.
 *
 * In this order: the file that --weights names; then, in PANUM_MODELS, ./models, ~/.local/share/panum/models, for each
 * model: its own name (s2m2-S.safetensors, s2m2-S.pth), then the name the authors published it under (CH128NTR1.pth).
 * Last come the folders of the weights that panum brings along: that of the program itself; `weights` beside that
 * folder, which is the source tree's for a program in build/; and share/panum under the prefix of an installed program
 * (the one it lies under, then the one it was built for). */
#ifndef PANUM_APPS_LIB_MODEL_FILES_H
#define PANUM_APPS_LIB_MODEL_FILES_H
#include "apps/lib/matcher.h"

/* Writes the path of the first file found into out; false when there is none. */
bool model_file_find(MatcherModel model, char *out, size_t size);
/* Weights may say in their metadata that only those who ask for them by name should get them: "auto" begins with "no",
 * and why follows (that something else is right more often). True for any other file, damaged ones too. */
bool model_file_wants_auto(const char *path);
/* The folders that are searched, best first, for messages and lists: 0.. ; false past the last. */
bool model_folder(int index, char *out, size_t size);
/* "s2m2-S.safetensors or CH128NTR1.pth" */
const char *model_file_names(MatcherModel model, char *out, size_t size);
#endif
