#!/bin/sh
# tools/gpu_session.sh - an hour on a machine that has a GPU, and perhaps nothing to build with.
#
#   tools/gpu_session.sh pack FOLDER            here: builds, and puts the programs and what they need into FOLDER
#   tools/gpu_session.sh tests FOLDER OUT       there: which device, the tests of make test-gpu, the self-test; at most
#                                               ten minutes (TEST_SECONDS, SANITIZER_SECONDS: tools/test_gpu.sh)
#   tools/gpu_session.sh bench FOLDER OUT       there: what the kernels reach
#   tools/gpu_session.sh train FOLDER OUT MINUTES [OPTION...]
#                                               there: trains by weights/recipe-gpu.args for so long, and packs the folder
#   tools/gpu_session.sh unpack OUT RUN         here: what came back, as a folder that `panum train stereo -o RUN` goes on with
#
# `train` goes on from RUN_FROM, a folder with pieces that an earlier one left (or a folder of a training), if that is set.
# Everything is run from the root of the tree, of which tests/ and weights/ are needed there. OUT gets no file larger than
# PIECE bytes (15 MB), because machines are lent with such limits. BATCH pairs a step, MICRO of them at once (8 and 8;
# a folder begun with other numbers, as on a CPU with 1 at once, goes on with --resume-anyway among the options).
# OPTION may be --init weights/s2m2-XS.safetensors, which goes on from what is shipped.
set -e
cd "$(dirname "$0")/.."
what=$1 folder=$2 out=$3
PIECE=${PIECE:-15000000}
RUN=${RUN:-build/gpu_run}
GPU=${GPU:-cuda}

usage() {
    sed -n '2,/^set -e/p' "$0" | sed '$d' | sed 's/^# \{0,1\}//'
    exit 2
}

need() {
    [ -n "$1" ] || usage
}

# Programs find their kernels' compiler by its usual names; a Python environment often has one when the system has none.
there() {
    folder=$(cd "$folder" && pwd)
    LD_LIBRARY_PATH=$folder/lib:$(python3 -c 'import glob, sys
found = [f for p in sys.path for f in glob.glob(p + "/nvidia/**/libnvrtc.so.1[23]", recursive=True)]
print(found[0].rsplit("/", 1)[0] if found else "")' 2>/dev/null):$LD_LIBRARY_PATH:/usr/local/nvidia/lib64:/usr/local/cuda/lib64
    export LD_LIBRARY_PATH
    XDG_CACHE_HOME=${XDG_CACHE_HOME:-$PWD/build/cache}
    export XDG_CACHE_HOME
    mkdir -p build "$out"
}

case $what in
pack)
    need "$folder"
    make -s gpu-tests
    rm -rf "$folder/bin" "$folder/lib"
    mkdir -p "$folder/bin/tests/cuda" "$folder/lib"
    for program in build/panum $(make -s gpu-tests-list); do
        strip -o "$folder/bin/${program#build/}" "$program"
    done
    ldd build/tests/cuda/test_plan | awk '/libcmocka/ { print $3 }' | xargs -I{} cp -L {} "$folder/lib/"
    git rev-parse --short HEAD >"$folder/commit"
    du -sh "$folder"
    ;;
tests)
    need "$out"
    there
    { "$folder/bin/panum" devices && nvidia-smi; } 2>&1 | tee "$out/devices.txt"
    RESULTS=$out TEST_SECONDS=${TEST_SECONDS:-120} SANITIZER_SECONDS=${SANITIZER_SECONDS:-150} \
        sh tools/test_gpu.sh "$folder/bin" "$GPU" "$folder"/bin/tests/cuda/test_* || echo "some tests failed"
    timeout 100 "$folder/bin/panum" selftest --device "$GPU" >"$out/selftest.txt" 2>&1 || echo "the self-test failed"
    cat "$out/selftest.txt"
    ;;
bench)
    need "$out"
    there
    timeout "${BENCH_SECONDS:-500}" "$folder/bin/panum" bench --device "$GPU" 2>&1 | tee "$out/bench.txt"
    ;;
train)
    minutes=$4
    need "$minutes"
    shift 4
    there
    cpus=$(nproc)
    if [ -n "$RUN_FROM" ] && [ ! -d "$RUN" ]; then
        mkdir -p "$RUN"
        if ls "$RUN_FROM"/run.tar.* >/dev/null 2>&1; then
            cat "$RUN_FROM"/run.tar.* | tar -xf - -C "$RUN"
        else
            cp "$RUN_FROM"/* "$RUN"/
        fi
    fi
    "$folder/bin/panum" train stereo @weights/recipe-gpu.args -o "$RUN" --device "$GPU" --threads "$cpus" \
        --loader-threads "$cpus" --batch "${BATCH:-8}" --micro-batch "${MICRO:-8}" \
        --hours "$(awk "BEGIN { print $minutes / 60 }")" --progress none --checkpoint-every 2000 --validate-every 2000 --log "$out/train.txt" "$@" || echo "training ended with $?"
    # the newest checkpoint, the tables, and the best weights: all that going on needs
    rm -f "$out"/run.tar.*
    newest=$(ls "$RUN" | grep '^checkpoint_' | sort | tail -n 1)
    # shellcheck disable=SC2046
    tar -cf - -C "$RUN" $newest $(cd "$RUN" && ls *.csv best.safetensors 2>/dev/null) | split -b "$PIECE" -d - "$out/run.tar."
    ls -l "$out"
    ;;
unpack)
    need "$out"
    mkdir -p "$out"
    cat "$folder"/run.tar.* | tar -xf - -C "$out"
    ls -l "$out"
    ;;
*) usage ;;
esac
