#!/bin/sh
# tools/test_gpu.sh BUILD DEVICE TEST... - the tests of kernels, plans and training on a GPU (cuda, cuda:1) instead of the
# emulated device. Without a GPU it says why and is content. What it finds goes to bench/results/ with date and device;
# RESULTS names another folder.
build=$1 device=$2
shift 2
results=${RESULTS:-bench/results}
panum=$build/panum
number=${device#cuda} number=${number#:}
number=${number:-0}

line=$("$panum" devices | grep -F "(cuda:$number)")
if [ -z "$line" ]; then
    echo "skip: test-gpu: $("$panum" devices | sed -n 's/^gpu: none: //p' | grep . || echo "there is no cuda:$number")"
    exit 0
fi
name=$(echo "$line" | sed -E 's/^gpu: (.*) \(cuda:[0-9]+\)$/\1/')
mkdir -p "$results" || exit 1
file=$results/gpu_$(date +%Y-%m-%d)_$(echo "$name" | tr -c 'A-Za-z0-9\n' _).txt
{
    echo "panum's tests on $name, $(date '+%Y-%m-%d %H:%M'), $(git rev-parse --short HEAD 2>/dev/null || echo 'no git')"
    "$panum" devices
    echo
} >"$file"

PANUM_TEST_GPU=$device
export PANUM_TEST_GPU
sh tests/run.sh "$build" "$@" >"$build/test_gpu.log" 2>&1
rc=$?
cat "$build/test_gpu.log"
{
    cat "$build/test_gpu.log"
    echo
    for t in "$@"; do # the differences that were found
        echo "== ${t#"$build"/tests/}"
        cat "$build/logs/$(printf %s "${t#"$build"/}" | tr / _).log"
    done
} >>"$file"

# Memory and races inside kernels, as NVIDIA's own watcher sees them: slow, so on the tests that launch most kinds.
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ] && [ -z "$NO_SANITIZER" ]; then
    for tool in memcheck racecheck; do
        for t in "$@"; do
            case $t in */test_words | */test_train_device | */test_stereo | */test_attention) ;; *) continue ;; esac
            echo "== compute-sanitizer --tool $tool ${t#"$build"/tests/}"
            PANUM_BUILD=$build timeout "${SANITIZER_SECONDS:-120}" "$sanitizer" --tool $tool --error-exitcode 99 "$t" >"$build/sanitizer.log" 2>&1
            code=$?
            grep -E '^=========' "$build/sanitizer.log" | tail -n 3
            case $code in
            99) rc=1 && grep -E '^=========' "$build/sanitizer.log" | head -n 40 ;;
            124) echo "not finished in ${SANITIZER_SECONDS:-120} s" ;;
            0) ;;
            *) echo "exit $code" ;;
            esac
        done
    done >"$build/sanitizers.log" 2>&1
    cat "$build/sanitizers.log"
    cat "$build/sanitizers.log" >>"$file"
    grep -q 'ERROR SUMMARY: [1-9]' "$build/sanitizers.log" && rc=1
else
    echo "skip: compute-sanitizer is not here" | tee -a "$file"
fi
echo "results: $file"
exit $rc
