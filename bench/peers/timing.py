"""What the peers share: an environment to run in, pinned threads, rounds, memory, facts about the machine.

Environments. "default" is what a user has who types `python script.py`. "tuned" gives the peer its best: the OpenBLAS
overrides some images export are removed, and malloc keeps its memory, in huge pages, in place of returning every large
tensor to the kernel. Both must be set before a process starts, so the script starts itself once more.
"""
import json
import os
import platform
import statistics
import sys
import time

TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
                      "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=67108864",
}
# Limits every library a PyTorch on x86 computes with; both sides of target C11 run under it.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell"}
_MARK = "PANUM_PEER_STARTED"


def add_options(parser):
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpus", help="cores to run on, as 0,1 (default: the first --threads of those allowed)")
    parser.add_argument("--environment", choices=["default", "tuned"], default="tuned")
    parser.add_argument("--isa", choices=["native", "avx2"], default="native")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=1)


def settle(arguments):
    """Pins the process and starts it again under the environment asked for. To be called before importing torch."""
    allowed = sorted(os.sched_getaffinity(0))
    chosen = [int(c) for c in arguments.cpus.split(",")] if arguments.cpus else allowed[:arguments.threads]
    if os.environ.get(_MARK) is None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k != "GLIBC_TUNABLES"}
        environment.update({_MARK: "1", "OMP_NUM_THREADS": str(arguments.threads),
                            "OPENBLAS_NUM_THREADS": str(arguments.threads)})
        if arguments.environment == "tuned":
            environment.update(TUNED)
        if arguments.isa == "avx2":
            environment.update(AVX2)
        os.sched_setaffinity(0, chosen)
        os.execve(sys.executable, [sys.executable] + sys.argv, environment)
    if len(chosen) < arguments.threads:
        print(f"{arguments.threads} threads on {len(chosen)} cores", file=sys.stderr)


def pin(cpus):
    """Moves every thread of this process to the given cores."""
    for task in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(task), cpus)


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def rounds(function, count, warmup):
    """(seconds, processor seconds of all threads) of each of count calls after warmup calls that are not counted.

    Where other programs share the cores and one thread runs, the processor seconds are what the wall time would be
    without them; with several threads they include the waiting of OpenMP's threads for each other.
    """
    for _ in range(warmup):
        function()
    times = []
    for _ in range(count):
        processor = time.process_time()
        wall = seconds(function)
        times.append((wall, time.process_time() - processor))
    return times


def summary(times, calls=1):
    walls = [wall / calls for wall, _ in times]
    return {"min_s": min(walls), "median_s": statistics.median(walls),
            "min_processor_s": min(processor for _, processor in times) / calls, "rounds": len(times)}


def repetitions(function, least=0.05):
    """How many calls make a round of at least `least` seconds: a short kernel is timed in a loop."""
    return max(1, int(least / max(min(seconds(function) for _ in range(2)), 1e-7)))


def memory_kb(field):
    """VmRSS (now) or VmHWM (highest so far) of this process."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def forget_peak():
    """Sets the high-water mark to the present size, so that the next VmHWM is that of what follows."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def steal():
    """Seconds the host took from this machine since it started, over all cores."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "")
    return {"cpu": model, "cpus": sorted(os.sched_getaffinity(0)), "system": platform.release(),
            "load": os.getloadavg()[0]}


def report(**values):
    print(json.dumps(values), flush=True)
