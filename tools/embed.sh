#!/bin/sh
# tools/embed.sh FILE... - prints C: the text of each file, under its path, as the table that cuda/texts.h declares.
printf '/* made by tools/embed.sh from the files it names */\n#include "cuda/texts.h"\n\nconst CudaText cuda_texts[] = {\n'
for file in "$@"; do
    printf '    {"%s",\n' "$file"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$file"
    printf '    },\n'
done
printf '};\nconst int cuda_text_count = sizeof cuda_texts / sizeof *cuda_texts;\n'
