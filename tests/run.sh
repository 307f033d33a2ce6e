#!/bin/sh
# tests/run.sh BUILD TEST... - runs the test programs one after another and sums up in two lines.
# A program prints its own cmocka lines; a test that needs something absent says "skip: why" and is counted as skipped.
build=$1
shift
mkdir -p "$build/logs"
passed=0 failed=0 skipped=0 bad=
times=$build/logs/seconds
: >"$times"
for t in "$@"; do
    log=$build/logs/$(printf %s "${t#"$build"/}" | tr / _).log
    begun=$(date +%s%N)
    PANUM_BUILD=$build "$t" >"$log" 2>&1
    rc=$?
    echo "$((($(date +%s%N) - begun) / 100000000)) ${t#"$build"/tests/}" >>"$times"
    p=$(grep -c '^\[       OK \]' "$log")
    # cmocka names each failed and each skipped test twice
    f=$(grep '^\[  FAILED  \] [^0-9]' "$log" | sort -u | wc -l)
    s=$(grep '^\[  SKIPPED \] [^0-9]' "$log" | sort -u | wc -l)
    grep -hE '^skip: ' "$log" | sort -u
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-40s %3d ok' "${t#"$build"/tests/}" "$p"
    [ "$s" -gt 0 ] && printf ', %d skipped' "$s"
    if [ "$f" -gt 0 ] || [ "$rc" -ne 0 ]; then
        printf ', FAILED (exit %d), see %s\n' "$rc" "$log"
        bad="$bad $log"
    else
        printf '\n'
    fi
done
for log in $bad; do
    echo "--- $log"
    tail -n 40 "$log"
done
echo "slowest, seconds:" "$(sort -rn "$times" | head -n 10 | sed -E 's/^([0-9]*)([0-9]) /\1.\2 /; s/^\./0./' | tr '\n' ';')"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
