#!/bin/sh
# tests/run.sh BUILD TEST... - runs the test programs, as many at once as there are processors (TEST_JOBS says
# otherwise), and sums up in two lines. Each has a scratch folder of its own, so they do not meet.
# A program prints its own cmocka lines; a test that needs something absent says "skip: why" and is counted as skipped.
build=$1
shift

log_of() {
    printf '%s/logs/%s.log' "$build" "$(printf %s "${1#"$build"/}" | tr / _)"
}

if [ "$1" = --one ]; then # what runs beside the others: one program, what it said as one line, its figures into .sum
    t=$2
    log=$(log_of "$t")
    begun=$(date +%s%N)
    PANUM_BUILD=$build "$t" >"$log" 2>&1
    rc=$?
    took=$((($(date +%s%N) - begun) / 100000000))
    p=$(grep -c '^\[       OK \]' "$log")
    # cmocka names each failed and each skipped test twice
    f=$(grep '^\[  FAILED  \] [^0-9]' "$log" | sort -u | wc -l)
    s=$(grep '^\[  SKIPPED \] [^0-9]' "$log" | sort -u | wc -l)
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    said=$(grep -hE '^skip: ' "$log" | sort -u)
    [ -z "$said" ] || said="$said
"
    line=$(printf '%-40s %3d ok' "${t#"$build"/tests/}" "$p")
    [ "$s" -eq 0 ] || line="$line, $s skipped"
    [ "$f" -eq 0 ] || line="$line, FAILED (exit $rc), see $log"
    printf '%s%s\n' "$said" "$line"
    echo "$took $p $f $s ${t#"$build"/tests/}" >"$log.sum"
    exit 0
fi

mkdir -p "$build/logs"
rm -f "$build"/logs/*.sum
printf '%s\n' "$@" | xargs -P "${TEST_JOBS:-$(nproc)}" -n 1 sh "$0" "$build" --one
passed=0 failed=0 skipped=0
: >"$build/logs/seconds"
for t in "$@"; do
    log=$(log_of "$t")
    took=0 p=0 f=1 s=0
    [ ! -e "$log.sum" ] || read -r took p f s _ <"$log.sum"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    echo "$took ${t#"$build"/tests/}" >>"$build/logs/seconds"
    [ "$f" -eq 0 ] || { echo "--- $log"; tail -n 40 "$log"; }
done
echo "slowest, seconds:" "$(sort -rn "$build/logs/seconds" | head -n 10 | sed -E 's/^([0-9]*)([0-9]) /\1.\2 /; s/^\./0./' | tr '\n' ';')"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
