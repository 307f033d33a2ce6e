/* apps/lib/options_text.c - what the tables look like: help, man pages, completion, the README's table. */
#include "apps/lib/options.h"

#include <string.h>

enum { WIDTH = 96, COLUMN = 30 };

/* Writes text word by word from column `at`, continuing lines at column `indent`. Ends without a newline. */
static void wrap(FILE *out, const char *text, int at, int indent) {
    bool first = true;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (!first && at + 1 + (int)n > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, n, out);
        at += (int)n;
        first = false;
        text += n;
        while (*text == ' ') text++;
    }
}

/* Calls `put` with every paragraph of text (they are separated by an empty line). */
static void paragraphs(FILE *out, const char *text, void (*put)(FILE *, const char *)) {
    while (*text) {
        const char *end = strstr(text, "\n\n");
        size_t n = end ? (size_t)(end - text) : strlen(text);
        char paragraph[2048];
        snprintf(paragraph, sizeof paragraph, "%.*s", (int)n, text);
        put(out, paragraph);
        text += n;
        while (*text == '\n') text++;
    }
}

static void help_paragraph(FILE *out, const char *text) {
    fputs("\n", out);
    wrap(out, text, 0, 0);
    fputs("\n", out);
}

/* "-o, --output PATH"; flags that are on by default are shown as what one would type. */
static void option_heading(char *out, size_t size, const Option *option, const char *name_style) {
    bool on = option->kind == OPTION_FLAG && option->standard && strcmp(option->standard, "on") == 0;
    const char *joint = option->value ? " " : "", *value = option->value ? option->value : "";
    char letter[8] = "";
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(out, size, "%s%s--%s%s%s%s", name_style, letter, on ? "no-" : "", option->name, joint, value);
}

static void default_text(char *out, size_t size, const Option *option) {
    *out = 0;
    if (option->kind == OPTION_FLAG) return;
    const char *text = option->shown ? option->shown : option->standard;
    if (text) snprintf(out, size, " [%s]", text);
}

void options_help(FILE *out, const Verb *verb) {
    fprintf(out, "panum %s - %s\n\nusage: panum %s%s%s%s\n", verb->name, verb->summary, verb->name,
            verb->count ? " [options]" : "", *verb->operands ? " " : "", verb->operands);
    paragraphs(out, verb->description, help_paragraph);
    const char *group = NULL;
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        if (!group || strcmp(group, option->group) != 0) fprintf(out, "\n%s\n", option->group);
        group = option->group;
        char heading[128], standard[128], help[1200];
        option_heading(heading, sizeof heading, option, option->letter ? "  " : "      ");
        default_text(standard, sizeof standard, option);
        snprintf(help, sizeof help, "%s%s", option->help, standard);
        fputs(heading, out);
        int at = (int)strlen(heading);
        if (at >= COLUMN - 1)
            fprintf(out, "\n%*s", COLUMN, "");
        else
            fprintf(out, "%*s", COLUMN - at, "");
        wrap(out, help, COLUMN, COLUMN);
        fputc('\n', out);
    }
    if (verb->count) fprintf(out, "      --help%*sthis text\n", COLUMN - 12, "");
    if (verb->examples) fprintf(out, "\nExamples\n%s\n", verb->examples);
}

void program_help(FILE *out, const Verb *const *verbs, int count) {
    fprintf(out, "panum " PANUM_VERSION " - stereoscopic film: what stands in front of the screen, and what behind\n\n"
                 "usage: panum VERB [options] ...\n\n");
    for (int i = 0; i < count; i++) {
        fprintf(out, "  %-10s ", verbs[i]->name);
        wrap(out, verbs[i]->summary, 13, 13);
        fputc('\n', out);
    }
    fprintf(out, "\n  panum VERB --help   all about one verb     panum --version\n");
}

/* ---- man pages --------------------------------------------------------------------------------------------------- */

/* Text for roff: backslashes and hyphens escaped, no line starts with a control character, and a list of words may be
 * broken behind its bars. */
static void roff(FILE *out, const char *text) {
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\'')) fputs("\\&", out);
        start = *text == '\n';
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '|')
            fputs("|\\:", out);
        else
            fputc(*text, out);
    }
}

static void roff_paragraph(FILE *out, const char *text) {
    fputs(".PP\n", out);
    roff(out, text);
    fputc('\n', out);
}

static void roff_title(FILE *out, const char *name) {
    fputs(".\\\" Written by panum help --man; edit the option table instead.\n.TH \"", out);
    for (; *name; name++) fputc(*name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name, out);
    fputs("\" 1 \"\" \"panum " PANUM_VERSION "\" \"panum\"\n.ad l\n", out);
}

static const char exit_codes[] =
    ".SH EXIT STATUS\n"
    "0 all done; 1 some inputs failed, or an unexpected failure; 2 wrong usage; 3 an input is missing, unreadable or\n"
    "unsupported; 4 weights missing, of another model, or refused; 5 device or driver; 6 out of memory or disk;\n"
    "7 a check found its limits broken; 8 an external program (ffmpeg) failed; 130 interrupted.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n.B PANUM_MODELS\nfolder where weights are looked for, before ./models, ~/.local/share/panum/models and what "
    "came with panum\n"
    ".TP\n.B PANUM_FFMPEG\nthe ffmpeg program to use\n"
    ".TP\n.B PANUM_CPU\nbase, avx2 or avx512: lowers the instruction set used (for tests)\n"
    ".TP\n.B PANUM_FAIL_ALLOC\nfails the given request for memory (for tests)\n";

void options_man(FILE *out, const Verb *verb) {
    char title[64];
    snprintf(title, sizeof title, "panum-%s", verb->name);
    roff_title(out, title);
    fputs(".SH NAME\n", out);
    roff(out, title);
    fputs(" \\- ", out);
    roff(out, verb->summary);
    fputs("\n.SH SYNOPSIS\n.B panum ", out);
    roff(out, verb->name);
    fputs(verb->count ? "\n[options] " : "\n", out);
    roff(out, verb->operands);
    fputs("\n.SH DESCRIPTION\n", out);
    paragraphs(out, verb->description, roff_paragraph);
    if (verb->count) fputs(".SH OPTIONS\n", out);
    const char *group = NULL;
    for (int i = 0; i < verb->count; i++) {
        const Option *option = &verb->options[i];
        if (!group || strcmp(group, option->group) != 0) fprintf(out, ".SS %s\n", option->group);
        group = option->group;
        char heading[128], standard[128];
        option_heading(heading, sizeof heading, option, "");
        default_text(standard, sizeof standard, option);
        fputs(".TP\n.B ", out);
        roff(out, heading);
        fputc('\n', out);
        roff(out, option->help);
        roff(out, standard);
        fputc('\n', out);
    }
    if (verb->examples) {
        fputs(".SH EXAMPLES\n.nf\n", out);
        roff(out, verb->examples);
        fputs("\n.fi\n", out);
    }
    fputs(exit_codes, out);
    fputs(".SH SEE ALSO\n.BR panum (1)\n", out);
}

void program_man(FILE *out, const Verb *const *verbs, int count) {
    roff_title(out, "panum");
    fputs(".SH NAME\npanum \\- stereoscopic film: what stands in front of the screen, and what behind\n"
          ".SH SYNOPSIS\n.B panum\nVERB [options] ...\n.SH VERBS\n",
          out);
    for (int i = 0; i < count; i++) {
        fputs(".TP\n.BR panum\\-", out);
        roff(out, verbs[i]->name);
        fputs(" (1)\n", out);
        roff(out, verbs[i]->summary);
        fputc('\n', out);
    }
    fputs(".SH COMMAND LINE\n", out);
    roff_paragraph(
        out,
        "Options are written --name VALUE or --name=VALUE, in any order; --no-name turns a switch off; a name may be "
        "shortened while it stays unique. -- ends options, - is standard input or output, @FILE reads more "
        "arguments from a file (a file whose name starts with @ is written ./@name).");
    fputs(".SH SIGN\n", out);
    roff_paragraph(
        out, "Disparity is x in the left picture minus x in the right one, in pixels of the left picture: positive "
             "stands in "
             "front of the screen. Parallax is its negative, and is what film people read in % of the picture's width: "
             "negative is in front.");
    fputs(exit_codes, out);
}

/* ---- bash ----------------------------------------------------------------------------------------------------------
 */

/* "a|b" as "a b" */
static void put_words(FILE *out, const char *choices) {
    for (const char *c = choices; *c; c++) fputc(*c == '|' ? ' ' : *c, out);
}

void program_completion(FILE *out, const Verb *const *verbs, int count) {
    fputs("# bash completion for panum, written by: panum help --completion bash\n"
          "# names of files, blanks in them included\n"
          "_panum_files() { mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); }\n"
          "_panum() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W \"",
          out);
    for (int i = 0; i < count; i++) fprintf(out, "%s ", verbs[i]->name);
    fputs("--help --version\" -- \"$cur\"))\n        return\n    fi\n"
          "    # readline cuts --name=value at the equal sign\n"
          "    [ \"$cur\" = = ] && cur=\n"
          "    [ \"$prev\" = = ] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    case $verb:$prev in\n",
          out);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < verbs[i]->count; j++) {
            const Option *option = &verbs[i]->options[j];
            if (option->kind == OPTION_FLAG || option->kind == OPTION_COUNT) continue;
            fprintf(out, "    %s:--%s", verbs[i]->name, option->name);
            if (option->letter) fprintf(out, "|%s:-%c", verbs[i]->name, option->letter);
            if (option->kind == OPTION_CHOICE) {
                fputs(") COMPREPLY=($(compgen -W \"", out);
                put_words(out, option->choices);
                fputs("\" -- \"$cur\")); return;;\n", out);
            } else if (option->kind == OPTION_PATH || option->kind == OPTION_PATHS) {
                fputs(") _panum_files; return;;\n", out);
            } else {
                fputs(") return;;\n", out);
            }
        }
    }
    fputs("    esac\n    local words=\n    case $verb in\n", out);
    for (int i = 0; i < count; i++) {
        fprintf(out, "    %s) words=\"", verbs[i]->name);
        for (int j = 0; j < verbs[i]->count; j++) {
            const Option *option = &verbs[i]->options[j];
            bool flag = option->kind == OPTION_FLAG, on = flag && option->standard && !strcmp(option->standard, "on");
            if (!on) fprintf(out, "--%s ", option->name);
            if (flag) fprintf(out, "--no-%s ", option->name);
        }
        fputs("--help\";;\n", out);
    }
    fputs("    esac\n"
          "    case $cur in\n"
          "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"));;\n"
          "    *) _panum_files\n"
          "        [ \"$verb\" = help ] && COMPREPLY=($(compgen -W \"",
          out);
    for (int i = 0; i < count; i++) fprintf(out, "%s ", verbs[i]->name);
    fputs("\" -- \"$cur\"))\n"
          "        case $verb in\n",
          out);
    for (int i = 0; i < count; i++) {
        if (!verbs[i]->words) continue;
        fprintf(out, "        %s) COMPREPLY+=($(compgen -W \"", verbs[i]->name);
        put_words(out, verbs[i]->words);
        fputs("\" -- \"$cur\"));;\n", out);
    }
    fputs("        esac;;\n"
          "    esac\n"
          "}\n"
          "complete -o filenames -F _panum panum\n",
          out);
}

void program_markdown(FILE *out, const Verb *const *verbs, int count) {
    fputs("| Verb | Does |\n|---|---|\n", out);
    for (int i = 0; i < count; i++) {
        fprintf(out, "| `panum %s%s", verbs[i]->name, *verbs[i]->operands ? " " : "");
        for (const char *c = verbs[i]->operands; *c; c++) {
            if (*c == '|') fputc('\\', out);
            fputc(*c, out);
        }
        fprintf(out, "` | %s |\n", verbs[i]->summary);
    }
}

/* ---- the line that was typed ---- */

char *command_line(Arena *arena, int argc, char **argv) {
    size_t size = 7;
    for (int i = 0; i < argc; i++) size += 4 * strlen(argv[i]) + 3;
    char *text = arena_alloc(arena, size);
    if (!text) return NULL;
    char *to = text + sprintf(text, "panum");
    for (int i = 0; i < argc; i++) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:%,@";
        bool quote = !*argv[i] || strspn(argv[i], plain) != strlen(argv[i]);
        *to++ = ' ';
        if (quote) *to++ = '\'';
        for (const char *c = argv[i]; *c; c++) {
            if (*c == '\'')
                to += sprintf(to, "'\\''");
            else
                *to++ = *c;
        }
        if (quote) *to++ = '\'';
    }
    *to = 0;
    return text;
}
