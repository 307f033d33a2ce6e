#!/bin/sh
# tools/layers.sh - fails when an include goes up a floor of the house (CONTRIBUTING.md: rooms), when a room below apps/
# prints or exits, or when a header does not compile alone. CC is the compiler to ask.
cd "$(dirname "$0")/.." || exit 1
bad=0

# room: rooms it may include from
rules='base: base
tensor: tensor base
cuda: cuda tensor base
autograd: autograd tensor base
exec: exec tensor cuda base
nn: nn autograd tensor base
models: models nn tensor base
losses: losses nn tensor base
data: data tensor base'

echo "$rules" | {
    while IFS=: read -r room may; do
        [ -d "$room" ] || continue
        find "$room" -name '*.[ch]' -exec grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' {} + |
            awk -v room="$room" -v may=" $may " '
                { split($0, part, "\""); path = part[2]; where = $0; sub(/:[[:space:]]*#.*/, "", where)
                  top = path; sub(/\/.*/, "", top)
                  if (path !~ /\//) { printf "%s: \"%s\" must be given with its room\n", where, path; bad = 1 }
                  else if (index(may, " " top " ") == 0) {
                      printf "%s: %s/ may not include \"%s\" (only:%s)\n", where, room, path, may; bad = 1 }
                  else if ((room == "models" || room == "losses") && path ~ /^(tensor\/files\/|nn\/store\.h|base\/(file|zip|pool|cpu)\.h)/) {
                      printf "%s: a model sees no file, device or executor: \"%s\"\n", where, path; bad = 1 } }
                END { exit bad }' || exit 1
    done
} || bad=1

# A kernel sees the vocabulary and its arguments, and no CUDA built-in by its own name.
if grep -nE '^[[:space:]]*#[[:space:]]*include' cuda/kernels/*.cu 2>/dev/null | grep -vE '"cuda/(device|kernels)/[a-z0-9_]+\.h"' ||
    grep -nE '__(shared|global|device|syncthreads|shfl|CUDA_ARCH)|(thread|block)Idx|asm' cuda/kernels/*.cu 2>/dev/null; then
    echo "layers: the lines above are not in the words of cuda/device/"
    bad=1
fi

# Only apps/ prints and exits; base/err.c does so when the program itself is wrong.
rooms=$(for r in base tensor cuda autograd exec nn models losses data; do [ -d $r ] && echo $r; done)
# shellcheck disable=SC2086
if grep -rnE --include='*.[ch]' '(^|[^_[:alnum:]])(printf|puts|putchar|perror|exit|abort)[[:space:]]*\(|(^|[^_[:alnum:]])(stdout|stderr)([^_[:alnum:]]|$)' $rooms |
    grep -vE '^base/err\.c:|:[[:space:]]*(/?\*|//)|__attribute__|/\*.*(stdout|stderr|printf|exit|abort).*\*/'; then
    echo "layers: the lines above print or exit outside apps/"
    bad=1
fi

for header in $(find $rooms apps panum.h -name '*.h' 2>/dev/null | sort); do
    case $header in cuda/device/*) continue ;; esac # read by NVRTC, and by the emulated device of the tests
    case $header in *_kernel.h | *_kernels.h | *_simd.h | *_template.h) continue ;; esac # bodies included by a .c that defines what they need
    printf '#include "%s"\n' "$header" | ${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-psabi -DPANUM_VERSION='""' -I. -fsyntax-only -x c - ||
        { echo "layers: $header does not compile alone"; bad=1; }
done
[ $bad -eq 0 ] && echo "layers: includes go down only, headers compile alone"
exit $bad
