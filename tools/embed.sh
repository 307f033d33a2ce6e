#!/bin/sh
# tools/embed.sh FILE... - prints C: the text of each file, under its path, as the table that cuda/texts.h declares.
# tools/embed.sh -b NAME FILE - the bytes of one file, as the array NAME, and their number, NAME_bytes.
if [ "$1" = -b ]; then
    printf '/* made by tools/embed.sh from %s */\n#include <stddef.h>\n#include <stdint.h>\n' "$3"
    printf 'extern const uint8_t %s[];\nextern const size_t %s_bytes;\nconst uint8_t %s[] = {\n' "$2" "$2" "$2"
    od -An -v -tu1 "$3" | sed -e 's/[0-9][0-9]*/&,/g'
    printf '0};\nconst size_t %s_bytes = sizeof %s - 1;\n' "$2" "$2"
    exit
fi
printf '/* made by tools/embed.sh from the files it names */\n#include "cuda/texts.h"\n\nconst CudaText cuda_texts[] = {\n'
for file in "$@"; do
    printf '    {"%s",\n' "$file"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$file"
    printf '    },\n'
done
printf '};\nconst int cuda_text_count = sizeof cuda_texts / sizeof *cuda_texts;\n'
