#!/bin/sh
# tools/test_gpu.sh BUILD DEVICE TEST... - the tests of kernels, plans and training on a GPU (cuda, cuda:1) instead of the
# emulated device. Without a GPU it says why and is content. What it finds goes to bench/results/ with date, device and
# driver; RESULTS names another folder.
#
# A GPU may be lent by the minute: the words of the vocabulary come first, and if not one of them runs nothing else does;
# then the tests that measure its memory or take all of it, alone; then the others, JOBS at a time (half the processors),
# none longer than TEST_SECONDS (300); then compute-sanitizer where there is one, in SANITIZER_SECONDS (240) for all of
# it; NO_SANITIZER=1 leaves it out. The page of results grows as this goes on, so that what was done is there if it ends.
build=$1 device=$2
shift 2
results=${RESULTS:-bench/results}
panum=$build/panum
number=${device#cuda} number=${number#:}
number=${number:-0}
processors=$(nproc 2>/dev/null || echo 2)
jobs=${JOBS:-$(((processors + 1) / 2))}
seconds=${TEST_SECONDS:-300}
begun=$(date +%s)

"$panum" devices >"$build/devices.txt"
line=$(grep -F "(cuda:$number)" "$build/devices.txt")
if [ -z "$line" ]; then
    echo "skip: test-gpu: $(sed -n 's/^gpu: none: //p' "$build/devices.txt" | grep . || echo "there is no cuda:$number")"
    exit 0
fi
name=$(echo "$line" | sed -E 's/^gpu: (.*) \(cuda:[0-9]+\)$/\1/')
mkdir -p "$results" "$build/logs" || exit 1
file=$results/gpu_$(date +%Y-%m-%d)_$(echo "$name" | tr -c 'A-Za-z0-9\n' _).txt
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)
commit=$(git rev-parse --short HEAD 2>/dev/null || cat "$build/../commit" 2>/dev/null || echo unknown)
{
    echo "panum's tests on $name, $(date '+%Y-%m-%d %H:%M'), driver ${driver:-of unknown version}, commit $commit"
    cat "$build/devices.txt"
    echo
} >"$file"

PANUM_TEST_GPU=$device PANUM_BUILD=$build
export PANUM_TEST_GPU PANUM_BUILD

log_of() {
    echo "$build/logs/gpu_$(basename "$1").log"
}

# How each test ended, in lines that begin with ok, skipped or FAILED.
summary() {
    for t in "$@"; do
        log=$(log_of "$t")
        code=$(tail -n 1 "$log" | sed -n 's/^exit //p')
        passed=$(grep -c '^\[       OK \]' "$log")
        skipped=$(grep '^\[  SKIPPED \] [^0-9]' "$log" | sort -u | wc -l)
        took=$(sed -n 's/^took //p' "$log")
        case $code in
        0) word=ok ;;
        124 | 137) word="FAILED (not finished in $seconds s)" ;;
        *) word="FAILED (exit $code)" ;;
        esac
        echo "$word ${t##*/test_}: $passed passed, $skipped skipped, ${took:-?} s"
    done
}

# One test into its log: began, output, how long, how it ended.
one='t=$1
log=$2
begun=$(date +%s)
timeout -k 5 "$3" "$t" >"$log" 2>&1
code=$?
printf "took %s\nexit %s\n" "$(($(date +%s) - begun))" "$code" >>"$log"'

words= alone= others=
for t in "$@"; do
    case $t in
    */test_words) words=$t ;;
    */test_s2m2_device | */test_train_device) alone="$alone $t" ;;
    */test_trainer) others="$t $others" ;; # the longest first
    *) others="$others $t" ;;
    esac
done
rc=0

# What tests have said goes to the page.
report() {
    for t in "$@"; do
        echo
        echo "== ${t##*/test_}"
        grep -vE '^\[ RUN |^took |^exit ' "$(log_of "$t")"
    done >>"$file"
}

if [ -n "$words" ]; then
    sh -c "$one" one "$words" "$(log_of "$words")" "$seconds"
    summary "$words"
    report "$words"
    if ! grep -q '^\[       OK \] test_p' "$(log_of "$words")"; then
        tail -n 60 "$(log_of "$words")"
        echo "not even the simplest kernel runs here: nothing else is tried" | tee -a "$file"
        exit 1
    fi
fi
for t in $alone; do
    sh -c "$one" one "$t" "$(log_of "$t")" "$seconds"
    summary "$t"
    report "$t"
done
for t in $others; do
    printf '%s\n%s\n%s\n' "$t" "$(log_of "$t")" "$seconds"
done | xargs -r -n 3 -P "$jobs" sh -c "$one" one
# shellcheck disable=SC2086
{
    report $others
    others="$words $alone $others"
    summary $others | tee "$build/test_gpu.log"
}
grep -q '^FAILED' "$build/test_gpu.log" && rc=1
{
    echo
    echo "== how they ended"
    cat "$build/test_gpu.log"
    echo
} >>"$file"
for t in $others; do
    tail -n 1 "$(log_of "$t")" | grep -qx 'exit 0' || { echo "--- $t" && tail -n 40 "$(log_of "$t")"; }
done

# Memory, races and barriers inside kernels, as NVIDIA's own watcher sees them: slow, so on the tests that launch most
# kinds. Their kernels are compiled by now.
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
sanitize='t=$1 tool=$2 log=$3 sanitizer=$5
timeout -k 5 "$4" "$sanitizer" --tool "$tool" --error-exitcode 99 "$t" >"$log" 2>&1
printf "exit %s\n" "$?" >>"$log"'
if [ -n "$sanitizer" ] && [ -z "$NO_SANITIZER" ]; then
    list=$build/sanitizer.list
    : >"$list"
    for tool in memcheck racecheck synccheck; do
        for t in $others; do
            case $t in */test_words | */test_train_device | */test_stereo | */test_attention | */test_panels) ;; *) continue ;; esac
            printf '%s\n%s\n%s\n%s\n%s\n' "$t" $tool "$build/logs/$tool.$(basename "$t").log" "$((${SANITIZER_SECONDS:-240} / 2))" "$sanitizer" >>"$list"
        done
    done
    # two rounds fit: as many at a time as there are of them, halved
    xargs -r -n 5 -P "$((($(wc -l <"$list") / 5 + 1) / 2))" sh -c "$sanitize" sanitize <"$list"
    for log in $(sed -n '3~5p' "$list"); do
        label=$(basename "$log" .log)
        case $(tail -n 1 "$log") in
        'exit 0') echo "ok $label: $(grep -E 'SUMMARY' "$log" | tail -n 1)" ;;
        'exit 124' | 'exit 137') echo "unfinished $label: $(grep -cE '^========= (Invalid|Race|Error|Barrier)' "$log") reports until then" ;;
        'exit 99') echo "FAILED $label" && grep -E '^=========' "$log" | head -n 40 ;;
        *)
            if grep -qE 'not supported|Unable to|cannot' "$log"; then
                echo "skip: $label: $(grep -E 'not supported|Unable to|cannot' "$log" | head -n 1)"
            else
                echo "FAILED $label: $(tail -n 1 "$log")" && tail -n 20 "$log"
            fi
            ;;
        esac
    done >"$build/sanitizers.log" 2>&1
    cat "$build/sanitizers.log"
    cat "$build/sanitizers.log" >>"$file"
    grep -q '^FAILED' "$build/sanitizers.log" && rc=1
else
    echo "skip: compute-sanitizer is not here" | tee -a "$file"
fi
echo "whole: $(($(date +%s) - begun)) s" | tee -a "$file"
echo "results: $file"
exit $rc
