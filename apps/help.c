/* apps/help.c - the tables of all verbs as text: for people, for man, for bash, for the README. */
#include "apps/lib/verbs.h"
#include "base/err.h"

typedef struct {
    bool man, markdown;
    int completion;
} HelpOptions;

enum { COMPLETION_NONE, COMPLETION_BASH };

static const Option options[] = {
    {.name = "man",
     .kind = OPTION_FLAG,
     .at = offsetof(HelpOptions, man),
     .group = "Forms",
     .help = "as a man page, for: panum help --man match | man -l -"},
    {.name = "completion",
     .kind = OPTION_CHOICE,
     .value = "SHELL",
     .choices = "none|bash",
     .standard = "none",
     .at = offsetof(HelpOptions, completion),
     .group = "Forms",
     .help = "the completion script for bash, for: eval \"$(panum help --completion bash)\""},
    {.name = "markdown",
     .kind = OPTION_FLAG,
     .at = offsetof(HelpOptions, markdown),
     .group = "Forms",
     .help = "the list of verbs as a Markdown table, as the README has it"},
};

int app_help(int argc, char **argv);
const Verb verb_help = {
    .name = "help",
    .operands = "[VERB]",
    .summary = "tell about the verbs, as text, man page or shell completion",
    .description = "Without VERB: the list of verbs. With VERB: the same text as panum VERB --help.",
    .least = 0,
    .most = 1,
    .run = app_help,
    .options = options,
    .count = sizeof options / sizeof *options,
};

int app_help(int argc, char **argv) {
    HelpOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_help, argc, argv, &o, &parsed);
    if (rc) return rc;
    const Verb *verb = NULL;
    if (o.man + o.markdown + (o.completion != COMPLETION_NONE) > 1) {
        rc = usage_error(&verb_help, "--man, --markdown and --completion exclude each other");
    } else if (parsed.operand_count && (o.markdown || o.completion)) {
        rc = usage_error(&verb_help, "--markdown and --completion are about all verbs; leave '%s' out",
                         parsed.operands[0]);
    } else if (parsed.operand_count) {
        verb = program_find_verb(parsed.operands[0]);
        if (!verb) rc = ERR_USAGE;
    }
    if (!rc) {
        if (o.markdown)
            program_markdown(stdout, program_verbs, program_verb_count);
        else if (o.completion == COMPLETION_BASH)
            program_completion(stdout, program_verbs, program_verb_count);
        else if (o.man && verb)
            options_man(stdout, verb);
        else if (o.man)
            program_man(stdout, program_verbs, program_verb_count);
        else if (verb)
            options_help(stdout, verb);
        else
            program_help(stdout, program_verbs, program_verb_count);
    }
    parsed_free(&parsed);
    return rc;
}
