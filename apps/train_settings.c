/* apps/train_settings.c - what a training was begun with, remembered in its checkpoints as text. */
#include "apps/train_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "option.";

static bool is_setting(const Option *option) {
    static const char *const groups[] = {TRAIN_NETWORK, TRAIN_DATA, TRAIN_RECIPE, TRAIN_FILMS};
    for (int i = 0; i < 4; i++)
        if (strcmp(option->group, groups[i]) == 0) return true;
    return false;
}

/* Not part of the recipe, so that it may be given anew without a word; but what comes out depends on it (which weights
 * are the best, where it stops), so a training that is gone on with by its folder alone goes on with it. */
static bool is_remembered(const Option *option) {
    static const char *const names[] = {"validate",  "validate-every", "validate-samples", "checkpoint-every",
                                        "log-every", "patience",       "recompute",        "precision"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(option->name, names[i]) == 0) return true;
    return is_setting(option);
}

static const char *choice_text(const Option *option, int index, Arena *arena) {
    const char *at = option->choices;
    while (index-- > 0) at = strchr(at, '|') + 1;
    return arena_format(arena, "%.*s", (int)strcspn(at, "|"), at);
}

/* The shorter of two spellings that give the same number back. */
static const char *real_text(double value, Arena *arena) {
    const char *text = arena_format(arena, "%.15g", value);
    return text && strtod(text, NULL) == value ? text : arena_format(arena, "%.17g", value);
}

/* An option's value as it would be typed; lists a line each; "" for what is not given. */
static const char *option_text(const Option *option, const void *values, Arena *arena) {
    const void *at = (const char *)values + option->at;
    switch (option->kind) {
    case OPTION_FLAG:
        return *(const bool *)at ? "on" : "off";
    case OPTION_WHOLE:
        return arena_format(arena, "%" PRId64, *(const int64_t *)at);
    case OPTION_REAL:
    case OPTION_FRACTION:
        return real_text(*(const double *)at, arena);
    case OPTION_CHOICE:
        return choice_text(option, *(const int *)at, arena);
    case OPTION_TEXT:
    case OPTION_PATH: {
        const char *text = *(const char *const *)at;
        return text ? text : "";
    }
    case OPTION_PATHS: {
        const OptionList *list = at;
        const char *text = "";
        for (int i = 0; text && i < list->count; i++)
            text = arena_format(arena, "%s%s%s", text, i ? "\n" : "", list->items[i]);
        return text;
    }
    default:
        BUG_IF(true, "option %s is of a kind that no setting has", option->name);
    }
}

int settings_notes(const Verb *verb, const void *values, Arena *arena, SafetensorsNote *notes, int room) {
    int n = 0;
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        if (!is_remembered(option)) continue;
        BUG_IF(n == room, "more than %d settings", room);
        notes[n++] =
            (SafetensorsNote){arena_format(arena, "%s%s", prefix, option->name), option_text(option, values, arena)};
    }
    return n;
}

static const char *note_of(const Checkpoint *c, const Option *option) {
    char name[80];
    snprintf(name, sizeof name, "%s%s", prefix, option->name);
    return checkpoint_note(c, name);
}

static void add_argument(Arena *arena, char **arguments, int *count, int room, const char *name, const char *value,
                         size_t length) {
    if (*count + 1 < room)
        arguments[(*count)++] =
            arena_format(arena, "--%s%s%.*s", name, value ? "=" : "", (int)length, value ? value : "");
}

int settings_arguments(const Verb *verb, const Parsed *given, const Checkpoint *from, int argc, char **argv,
                       Arena *arena, int *count, char ***arguments) {
    enum { ADDED_MAX = 512 };
    int room = argc + ADDED_MAX;
    char **all = arena_alloc(arena, (size_t)room * sizeof *all);
    *count = 0;
    if (!all) return ERR_MEMORY;
    all[(*count)++] = argv[0];
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        const char *text = is_remembered(option) && !(given->given >> i & 1) ? note_of(from, option) : NULL;
        if (!text || !*text) continue;
        if (option->kind == OPTION_WHOLE && strtod(text, NULL) < option->least) continue; /* 0: was not given */
        if (option->kind == OPTION_FLAG) {
            const char *name = arena_format(arena, "%s%s", strcmp(text, "on") == 0 ? "" : "no-", option->name);
            if (name) add_argument(arena, all, count, room, name, NULL, 0);
            continue;
        }
        for (size_t n; *text; text += n + (text[n] == '\n')) {
            n = option->kind == OPTION_PATHS ? strcspn(text, "\n") : strlen(text);
            add_argument(arena, all, count, room, option->name, text, n);
        }
    }
    for (int i = 1; i < argc && *count < room; i++) all[(*count)++] = argv[i];
    *arguments = all;
    return arena_failed(arena) ? (int)ERR_MEMORY : 0;
}

static bool is_default(const Option *option, const char *text) {
    const char *standard = option->standard ? option->standard : option->kind == OPTION_FLAG ? "off" : "";
    return strcmp(text, standard) == 0;
}

int settings_compare(const Verb *verb, const void *values, const Checkpoint *with, Arena *arena) {
    char differences[700] = "";
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        if (!is_setting(option)) continue;
        const char *was = note_of(with, option), *is = option_text(option, values, arena);
        if (!is) return ERR_MEMORY;
        if (was && strcmp(was, is) == 0) continue;
        if (!was && is_default(option, is)) continue; /* begun by a program that did not have the option yet */
        size_t n = strlen(differences);
        snprintf(differences + n, sizeof differences - n, "%s--%s was %.60s and is %.60s", n ? ", " : "", option->name,
                 !was   ? "not known"
                 : *was ? was
                        : "not given",
                 *is ? is : "not given");
    }
    if (!*differences) return 0;
    return fail(
        ERR_USAGE,
        "%s was begun with other settings (%s); leave them out to go on as it was begun, add --resume-anyway to go "
        "on with the new ones, or --no-resume to begin anew",
        show_path(checkpoint_path(with)), differences);
}
