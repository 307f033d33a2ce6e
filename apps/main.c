/* apps/main.c - chooses the verb (argv[1], or argv[0] when it is called panum-VERB), and is the only place where a
 * failure is printed and turned into an exit code. `make apps` compiles it once more per verb with PANUM_ONLY set. */
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "apps/lib/verbs.h"
#include "base/err.h"
#include "cuda/compile.h"

#include <string.h>
#include <unistd.h>

#ifdef PANUM_ONLY
#define VERBS(X) X(PANUM_ONLY)
#else
#define VERBS(X) \
    X(match)     \
    X(info)      \
    X(eval)      \
    X(judge)     \
    X(pack)      \
    X(gt)        \
    X(train)     \
    X(demo)      \
    X(model)     \
    X(trace)     \
    X(bench)     \
    X(devices)   \
    X(selftest)  \
    X(help)
#endif

#define DECLARE_(name) extern const Verb verb_##name;
#define DECLARE(name) DECLARE_(name)
VERBS(DECLARE)
#define ADDRESS_(name) &verb_##name,
#define ADDRESS(name) ADDRESS_(name)
const Verb *const program_verbs[] = {VERBS(ADDRESS)};
const int program_verb_count = sizeof program_verbs / sizeof *program_verbs;

static const Verb *find_exact(const char *name) {
    for (int i = 0; i < program_verb_count; i++)
        if (strcmp(program_verbs[i]->name, name) == 0) return program_verbs[i];
    return NULL;
}

const Verb *program_find_verb(const char *name) {
    const Verb *verb = find_exact(name);
    if (verb) return verb;
    const char *names[64], *nearest;
    int count = program_verb_count < 64 ? program_verb_count : 64;
    for (int i = 0; i < count; i++) names[i] = program_verbs[i]->name;
    nearest = nearest_name(name, names, count, sizeof *names);
    if (nearest)
        fail(ERR_USAGE, "unknown verb '%s'; did you mean %s?", show_path(name), nearest);
    else
        fail(ERR_USAGE, "unknown verb '%s'; panum help lists them", show_path(name));
    return NULL;
}

static int no_verb(void) {
    char names[512] = "";
    for (int i = 0; i < program_verb_count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", program_verbs[i]->name);
    }
    return fail(ERR_USAGE, "a verb is missing: %s; panum help tells what they do", names);
}

/* Runs the verb that argv asks for. *name is what the failure's sentence starts with. */
static int dispatch(int argc, char **argv, const char **name) {
    const char *self = argc > 0 && argv[0] ? strrchr(argv[0], '/') : NULL;
    self = self ? self + 1 : argc > 0 && argv[0] ? argv[0] : "panum";
    const Verb *verb = NULL;
    int shift = 0;
    if (strncmp(self, "panum-", 6) == 0) verb = find_exact(self + 6);
    if (!verb && program_verb_count == 1) verb = program_verbs[0];
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("panum " PANUM_VERSION);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], COMPILE_WORD) == 0) return compile_serve(STDIN_FILENO); /* cuda/compile.c */
    if (!verb) {
        if (argc < 2) return no_verb();
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
            program_help(stdout, program_verbs, program_verb_count);
            return 0;
        }
        verb = program_find_verb(argv[1]);
        if (!verb) return ERR_USAGE;
        shift = 1;
    }
    *name = verb->name;
    return verb->run(argc - shift, argv + shift);
}

int main(int argc, char **argv) {
    run_begin();
    const char *name = NULL;
    int rc = dispatch(argc, argv, &name);
    if (rc == OPTIONS_SHOWN) rc = 0;
    if (rc == 0) rc = run_finish_output();
    if (rc) {
        char sentence[1200];
        err_printable(sentence, sizeof sentence, err_sentence());
        say_always("panum%s%s: %s", name ? " " : "", name ? name : "", sentence);
    }
    talk_end();
    return rc;
}
