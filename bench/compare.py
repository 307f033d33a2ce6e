"""panum beside its peers on this machine: the ratios of the performance targets, measured alternately in one run.

usage: python bench/compare.py --reference S2M2_CHECKOUT [--rows C4,C8] [--quick] [--full] [--no-compile] [--prepare]
                               [--python PEERS_PYTHON] [--panum build/panum] [--output FOLDER] [--rounds 7]

Protocol. Both sides run in processes that stay alive and are asked for one round at a time, A B A B, pinned to the same
cores with the same number of threads; the first round of each does not count. Smallest and median of the rounds are
kept, a ratio is that of the smallest (the steadier on a machine that others use) with that of the medians beside it. A
round of a single layer repeats calls until they last 50 ms. Peers run in their tuned environment and in the default one
(bench/peers/timing.py); the target counts against the tuned one, and against the best layout and library there is.
A target counts only with the tests of the same code green, so the tests that are built are run first.

The peers need PyTorch and NumPy (tools/ref/README.md) and, for whole networks and Sinkhorn, a checkout of the public S2M2
code; nothing else here needs more than Python. --quick tries the script out: two rounds, small pictures, no compiled
peers; its figures mean nothing. --full adds what no target asks for: L at one thread, peers beside a busy process, all
layouts of compiled peers. --prepare compiles what C8, C9, C11 and C12 will compile and measures nothing: minutes that need
no quiet machine. Rows that need no peer: C1, C3, C15, C16, C17, C18.

Writes results.json and results.md into --output after every group of rows, so an interrupted run leaves what it has.
"""
import argparse
import collections
import datetime
import functools
import glob
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
import timing  # noqa: E402

GEMM = ["1024x1024x1024", "2048x2048x2048", "22080x128x128", "22080x384x256", "5520x256x256", "1380x256x256",
        "345x256x256", "22080x64x1152", "1370x1536x384"]
CONV = {  # ours: the peers' name
    "3x3 64->64 120x184": "3x3_64_120x184", "3x3 128->128 120x184": "3x3_128_120x184",
    "3x3 256->256 120x184": "3x3_256_120x184", "3x3 256->256 60x92": "3x3_256_60x92",
    "3x3 128->128 240x368": "3x3_128_240x368", "3x3 s2 128->128 240x368": "3x3s2_128_240x368",
    "5x5 s2 16->64 480x736": "5x5s2_16_64_480x736", "3x1 256->128 120x184": "3x1_256_128_120x184",
    "1x3 256->128 120x184": "1x3_256_128_120x184"}
CONV_WINOGRAD = list(CONV)[:5]
ATTENTION = {"5520 tokens 4x32": "5520_tokens_4_heads_d32", "240 rows of 184 1x128": "240_rows_184_tokens_d128",
             "2 maps of 345 8x32": "2x345_tokens_8_heads_d32"}
# Minutes a group of rows takes about, with compiled peers, on two cores of 250 GFLOP/s.
MINUTES = {"C8": 10, "C12": 9, "C9": 6, "C11": 2.5, "C13": 2, "C4": 2, "C5": 2, "C2": 1.5, "C7": 1.5, "C6": 1, "C16": 0.7, "C1": 0.5,
           "C3": 0.5, "C15": 0.5, "C17": 0.5, "C18": 0}
TRAINING = [("S", 320, 256), ("XS", 256, 128), ("XS", 320, 256)]  # size, width, height of a step's one pair
ROWS = sorted(MINUTES, key=lambda row: int(row[1:]))
NEEDS_REFERENCE = {"C7", "C8", "C9", "C11", "C12", "C13"}
NEEDS_PEERS = NEEDS_REFERENCE | {"C2", "C4", "C5", "C6"}


def log(text):
    print(f"[{datetime.datetime.now():%H:%M:%S}] {text}", file=sys.stderr, flush=True)


# ---- processes that answer one round at a time ----------------------------------------------------------------------

class Process:
    """A program that is asked in lines and answers in lines of JSON."""
    alive = []

    def __init__(self, command, environment, cpus):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(command, env=environment, text=True, bufsize=1, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.command = command
        Process.alive.append(self)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"{' '.join(self.command)} stopped: {self.errors.read()[-2000:]}")
        return json.loads(line)

    def ask(self, line=""):
        self.process.stdin.write(line + "\n")
        return self.answer()

    def wait_ready(self):
        while True:
            answer = self.answer()
            if answer.get("ready"):
                return answer

    def close(self):
        """Lets it end by itself; what it says at its end is returned."""
        rest = ""
        if self in Process.alive:
            Process.alive.remove(self)
            try:
                rest, _ = self.process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.errors.close()
        return rest

    @staticmethod
    def wait_quiet(limit=3.0):
        """Returns when no thread of any of these programs is running. OpenMP's and OpenBLAS's workers spin for up to
        200 ms after their work, on the core that the next program's second thread needs."""
        still, end = 0, time.time() + limit
        while still < 3 and time.time() < end:
            still = 0 if any(process.busy() for process in Process.alive) else still + 1
            time.sleep(0.003)

    def memory(self, field):
        """VmRSS (now) or VmHWM (highest so far), bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(field + ":"))

    def busy(self):
        folder = f"/proc/{self.process.pid}/task"
        try:
            for task in os.listdir(folder):
                with open(f"{folder}/{task}/stat") as file:
                    if file.read().rpartition(")")[2].split()[0] == "R":
                        return True
        except OSError:
            return False  # a thread that has just ended
        return False

    @staticmethod
    def close_all():
        for process in list(Process.alive):
            process.process.kill()
            process.close()


def own_environment(isa="native"):
    drop = ("OPENBLAS_", "PANUM_", "OMP_", "GLIBC_TUNABLES")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    return {**environment, "PANUM_CPU": "avx2"} if isa == "avx2" else environment


class Panum(Process):
    def __init__(self, setup, threads, isa="native", weights=None):
        super().__init__([setup.panum, "bench", "--interactive", "--threads", str(threads)] +
                         (["--weights", weights] if weights else []), own_environment(isa), setup.cpus[:threads])
        self.facts = self.wait_ready()
        self.prepared = {}

    def round(self, what):
        if what not in self.prepared:
            self.prepared[what] = self.ask(what)
        return self.ask(what)["s"]

    def flops(self, what):
        return self.prepared[what]["flops"]


class Peer(Process):
    """One of bench/peers, which pins and configures itself."""

    def __init__(self, setup, script, threads, environment, *options, isa="native"):
        cpus = ",".join(map(str, setup.cpus[:threads]))
        super().__init__([setup.python, os.path.join(HERE, "peers", script), "--interactive", "--threads", str(threads),
                          "--cpus", cpus, "--environment", environment, "--isa", isa, *options],
                         {**os.environ, "TORCHINDUCTOR_CACHE_DIR": setup.cache}, os.sched_getaffinity(0))
        self.facts = self.wait_ready()

    def round(self, what=""):
        return self.ask(what)["s"]


class TorchLayers(Peer):
    def __init__(self, setup, families, threads, environment, isa="native"):
        reference = ["--reference", setup.reference] if setup.reference else []
        super().__init__(setup, "torch_layers.py", threads, environment, *reference, "--only", *families, isa=isa)
        self.libraries = collections.defaultdict(list)
        for key in self.facts["items"]:
            self.libraries[key.split(" ")[0]].append(key)


def torch_network(setup, size, threads, environment, mode, layout, isa="native"):
    log(f"starting torch S2M2-{size}, {threads} threads, {environment}, {mode}, {layout}, {isa}")
    return Peer(setup, "torch_s2m2.py", threads, environment, "--reference", setup.reference, "--size", size, "--height",
                str(setup.height), "--width", str(setup.width), "--mode", mode, "--layout", layout, isa=isa)


def torch_training(setup, item, threads, environment, mode, layout):
    size, width, height = item
    log(f"starting torch training S2M2-{size} {width}x{height}, {threads} threads, {environment}, {mode}, {layout}")
    return Peer(setup, "torch_train.py", threads, environment, "--reference", setup.reference, "--size", size, "--height",
                str(height), "--width", str(width), "--mode", mode, "--layout", layout)


# ---- measuring and judging ------------------------------------------------------------------------------------------

class Times(list):
    @property
    def least(self):
        return min(self)

    @property
    def median(self):
        return statistics.median(self)


def alternate(rounds, players):
    """players: name -> function that runs one round and returns seconds. The first round is dropped."""
    times = {name: Times() for name in players}
    for r in range(rounds + 1):
        start = time.time()
        for name, play in players.items():
            Process.wait_quiet()
            seconds = play()
            if r:
                times[name].append(seconds)
        if time.time() - start > 5:
            log(f"round {r} of {rounds}: {time.time() - start:.0f} s")
    return times


class Results:
    def __init__(self, setup):
        self.setup, self.rows, self.notes = setup, [], []
        self.peaks = collections.defaultdict(dict)
        self.started, self.steal = time.time(), timing.steal()
        self.load = os.getloadavg()[0]

    def add(self, target, what, threads, ratio, required, *, ours=None, peer=None, peer_name="", ratio_median=None,
            unit="ms", below=False, counts=True):
        """`below`: smaller is better. counts=False: told, but the target is not judged by it."""
        met = None if not counts else (ratio <= required if below else ratio >= required)
        scale = 1e3 if unit == "ms" else 1
        row = {"target": target, "what": what, "threads": threads, "unit": unit, "ratio": ratio,
               "ratio_median": ratio_median, "required": required, "met": met, "peer": peer_name}
        for side, times in (("ours", ours), ("peer", peer)):
            if times is not None:
                row[side + "_min"], row[side + "_median"] = scale * times.least, scale * times.median
        self.rows.append(row)
        log(f"{target} {what}, {threads} threads: {ratio:.3f} of {required:g}"
            f"{'' if met is None else ', met' if met else ', NOT MET'} ({peer_name})")

    def against(self, target, what, threads, required, ours, peer, peer_name, counts=True):
        self.add(target, what, threads, peer.least / ours.least, required, ours=ours, peer=peer, peer_name=peer_name,
                 ratio_median=peer.median / ours.median, counts=counts)

    def mean(self, target, what, threads, required, ratios, peer_name, counts=True):
        self.add(target, f"{what}, geometric mean of {len(ratios)}", threads,
                 math.exp(statistics.fmean(map(math.log, ratios))), required, peer_name=peer_name, counts=counts)

    def peak(self, process, threads, isa="native"):
        """Measures the peaks; the largest ever seen in this run counts."""
        best = self.peaks[f"{threads} threads, {isa}"]
        for key, value in process.ask("peak").items():
            best[key] = max(best.get(key, 0), value)
        return best

    def header(self):
        lines = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
        return {"date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}", "panum": self.setup.version,
                "machine": lines[0].split(":")[1].strip() if lines else "", "cpus": self.setup.cpus,
                "kernel": os.uname().release, "peers": self.setup.peer_versions, "rounds": self.setup.rounds,
                "quick": self.setup.quick, "load_at_start": self.load, "load_now": os.getloadavg()[0],
                "steal_seconds": timing.steal() - self.steal, "minutes": (time.time() - self.started) / 60,
                "peaks": self.peaks, "tests": self.setup.tests}

    def write(self):
        folder = self.setup.output
        os.makedirs(folder, exist_ok=True)
        facts = self.header()
        with open(os.path.join(folder, "results.json"), "w") as file:
            json.dump({**facts, "notes": self.notes, "rows": self.rows}, file, indent=1)
        with open(os.path.join(folder, "results.md"), "w") as file:
            file.write(self.markdown(facts))

    def markdown(self, facts):
        peers = ", ".join(f"{k} {v}" for k, v in facts["peers"].items()) or "none"
        text = [f"# panum {facts['panum']} beside its peers", ""]
        if facts["quick"]:
            text += ["**A quick run to try the script: its figures mean nothing.**", ""]
        text += [f"- {facts['date']}; {facts['machine']}, cores {facts['cpus']}, Linux {facts['kernel']}; peers: {peers}",
                 f"- {facts['rounds']} alternating rounds after one that does not count; load {facts['load_at_start']:.2f} "
                 f"at the start, {facts['load_now']:.2f} at the end; {facts['steal_seconds']:.1f} s stolen in "
                 f"{facts['minutes']:.1f} minutes",
                 f"- tests: {facts['tests']}"]
        text += [f"- peak, {name}: {p['peak_gflops']:.0f} GFLOP/s, bf16 {p['peak_gflops_bf16']:.0f}, reading memory "
                 f"{p['peak_gbytes']:.0f} GB/s" for name, p in facts["peaks"].items()]
        text += [f"- {note}" for note in self.notes]
        text += ["", "A ratio is peer / ours of the smallest times (in brackets: of the medians) unless the unit says "
                 "otherwise. Times in ms, smallest / median.", "",
                 "| target | what | threads | ours | peer | its time | ratio | required | met |",
                 "|---|---|---|---|---|---|---|---|---|"]

        def pair(row, side):
            if side + "_min" not in row:
                return ""
            return " / ".join(f"{row[side + k]:.4g}" for k in ("_min", "_median"))
        for row in sorted(self.rows, key=lambda r: int(r["target"][1:])):
            median = f" ({row['ratio_median']:.2f})" if row["ratio_median"] else ""
            unit = "" if row["unit"] == "ms" else " " + row["unit"]
            met = {None: "", True: "yes", False: "**no**"}[row["met"]]
            text.append(f"| {row['target']} | {row['what']} | {row['threads']} | {pair(row, 'ours')} | {row['peer']} | "
                        f"{pair(row, 'peer')} | {row['ratio']:.3g}{unit}{median} | {row['required']:g}{unit} | {met} |")
        return "\n".join(text) + "\n"


# ---- single layers --------------------------------------------------------------------------------------------------

def rows_of_peak(setup, results):
    """C1 and C3: shares of the peak, measured in the same process between the rounds."""
    for threads in setup.threads:
        ours = Panum(setup, threads)
        wanted = []
        if "C1" in setup.rows:
            wanted += [("C1", f"gemm {s}", "peak_gflops", 0.92, True) for s in GEMM[:2]]
        if "C3" in setup.rows:
            names = [f"gemm-bf16 {s}" for s in GEMM[:3]] + [f"conv-bf16 {s}" for s in CONV_WINOGRAD]
            if results.peak(ours, threads)["peak_gflops_bf16"] > 0:
                wanted += [("C3", name, "peak_gflops_bf16", 0.85, True) for name in names]
            else:
                results.notes.append("C3: this processor has no bf16 dot products")
        measured = {}
        for _, name, *_ in wanted:
            results.peak(ours, threads)
            measured[name] = alternate(setup.rounds, {name: lambda n=name: ours.round(n)})[name]
        peaks = results.peak(ours, threads)
        for target, name, kind, required, counts in wanted:
            share = ours.flops(name) / measured[name].least * 1e-9 / peaks[kind]
            results.add(target, name, threads, share, required, ours=measured[name], peer_name="of the peak",
                        ratio_median=share * measured[name].least / measured[name].median, counts=counts)
        ours.close()


def layer_rows(setup, results):
    families = [f for f, rows in (("gemm", {"C2"}), ("conv", {"C4", "C5"}), ("attention", {"C6"}), ("sinkhorn", {"C7"}))
                if rows & setup.rows]
    for threads in setup.threads:
        for environment in ("tuned", "default"):
            ours = Panum(setup, threads)
            results.peak(ours, threads)
            for family in families:
                log(f"layers: {family}, {threads} threads, {environment} peers")
                peers = TorchLayers(setup, [family], threads, environment)
                {"gemm": gemm_rows, "conv": conv_rows, "attention": attention_rows, "sinkhorn": sinkhorn_rows}[family](
                    setup, results, ours, peers, threads, environment)
                peers.close()
            ours.close()
            results.write()


def beside(setup, ours, peers, names, peer_item):
    """Alternates our names with every library of one item of the peers."""
    players = {name: lambda n=name: ours.round(n) for name in names}
    players.update({key: lambda k=key: peers.round(k) for key in peers.libraries[peer_item]})
    times = alternate(setup.rounds, players)
    libraries = {key[len(peer_item) + 1:]: times[key] for key in peers.libraries[peer_item]}
    return [times[name] for name in names], libraries


def best_of(libraries, *, without=""):
    name = min((n for n in libraries if not without or without not in n), key=lambda n: libraries[n].least)
    return name, libraries[name]


def gemm_rows(setup, results, ours, peers, threads, environment):
    ratios = collections.defaultdict(list)
    required = {"onednn linear": 0.97, "numpy openblas": 1.15}
    for shape in GEMM:
        (mine,), libraries = beside(setup, ours, peers, [f"gemm {shape}"], f"gemm_{shape}")
        for name, times in libraries.items():
            ratios[name].append(times.least / mine.least)
            results.against("C2", f"gemm {shape}", threads, required.get(name, 0.97), mine, times,
                            f"{name}, {environment}", counts=False)
    for name, values in ratios.items():
        results.mean("C2", "gemm", threads, required.get(name, 0.97), values, f"{name}, {environment}",
                     counts=environment == "tuned" and name in required)


def conv_rows(setup, results, ours, peers, threads, environment):
    fast, exact = [], []
    for shape, item in CONV.items():
        winograd = shape in CONV_WINOGRAD
        # stride 2 and 5x5 have one algorithm, which is exact
        names = ([f"conv {shape}"] if winograd and "C4" in setup.rows else []) + (
            [f"conv-exact {shape}" if winograd or shape[:3] in ("3x1", "1x3") else f"conv {shape}"]
            if "C5" in setup.rows else [])
        if not names:
            continue
        mine, libraries = beside(setup, ours, peers, names, f"conv_{item}")
        library, theirs = best_of(libraries)
        for name, times in zip(names, mine):
            target, required, ratios = ("C4", 2.3, fast) if name.startswith("conv ") and winograd else ("C5", 0.93, exact)
            ratios.append(theirs.least / times.least)
            results.against(target, name, threads, required, times, theirs, f"{library}, {environment}",
                            counts=environment == "tuned")
    for target, what, required, ratios in (("C4", "conv 3x3", 2.3, fast), ("C5", "conv exact", 0.93, exact)):
        if ratios:
            results.mean(target, what, threads, required, ratios, f"best library, {environment}", counts=False)


def attention_rows(setup, results, ours, peers, threads, environment):
    peaks = results.peak(ours, threads)
    for shape, item in ATTENTION.items():
        name = f"attention {shape}"
        (mine,), libraries = beside(setup, ours, peers, [name], f"attention_{item}")
        library, theirs = best_of(libraries)
        counts = environment == "tuned" and threads == 1
        results.against("C6", name, threads, 2.3, mine, theirs, f"{library}, {environment}", counts=counts)
        if environment == "tuned":
            share = ours.flops(name) / mine.least * 1e-9 / peaks["peak_gflops"]
            results.add("C6", name, threads, share, 0.7, ours=mine, peer_name="of the peak", counts=counts)


def sinkhorn_rows(setup, results, ours, peers, threads, environment):
    name = "transport 120 rows of 184"
    (mine,), libraries = beside(setup, ours, peers, [name], "sinkhorn_argmax_120x184")
    for library, times in libraries.items():
        results.against("C7", name, threads, 6, mine, times, f"{library} with arg-max, {environment}",
                        counts=environment == "tuned" and "compile" not in library)
    (mine,), libraries = beside(setup, ours, peers, [name], "sinkhorn_120x184")
    for library, times in libraries.items():
        results.against("C7", name, threads, 6, mine, times, f"{library} without arg-max, {environment}", counts=False)


# ---- whole networks -------------------------------------------------------------------------------------------------

def variants(setup):
    eager = [("eager", "nchw"), ("eager", "channels_last")]
    if not setup.compile:
        return {"eager": eager}
    compiled = [("compile", "nchw"), ("freeze", "channels_last")]
    if setup.full:
        compiled += [("compile", "channels_last"), ("freeze", "nchw")]
    return {"eager": eager, "compiled": compiled}


def scout(setup, results, size, isa="native"):
    """The best layout and mode of each kind of peer, by two rounds with all threads in the tuned environment."""
    chosen, threads, told = {}, setup.threads[-1], []
    for kind, list_of in variants(setup).items():
        best = math.inf
        for mode, layout in list_of:
            try:
                peer = torch_network(setup, size, threads, "tuned", mode, layout, isa)
                seconds = min(peer.round() for _ in range(1 if setup.quick else 2))
                peer.close()
            except RuntimeError as error:
                results.notes.append(f"torch S2M2-{size} {mode} {layout} does not run: {str(error)[-300:]!r}")
                continue
            told.append(f"{mode} {layout} {seconds:.2f} s")
            if seconds < best:
                best, chosen[kind] = seconds, (mode, layout)
    results.notes.append(f"torch S2M2-{size}, {isa}, {threads} threads, tuned, two rounds each: {', '.join(told)}; the best "
                         "eager and the best compiled one are measured")
    return chosen


def network_rows(setup, results, target, size, threads_list, required, isa="native", choose_from=None):
    """required: environment -> ratio. Every process of every thread count alternates with all others."""
    chosen = choose_from or scout(setup, results, size, isa)
    name, players, closing = f"s2m2-{size} {setup.width}x{setup.height}", {}, []
    for threads in threads_list:
        ours = Panum(setup, threads, isa)
        results.peak(ours, threads, isa)
        closing.append(ours)
        players["ours", threads] = lambda p=ours: p.round(name)
        for environment in required:
            for kind, (mode, layout) in chosen.items():
                peer = torch_network(setup, size, threads, environment, mode, layout, isa)
                closing.append(peer)
                players[kind, f"torch {mode} {layout}, {environment}", environment, threads] = peer.round
    log(f"{target}: {len(players)} processes, {setup.rounds + 1} rounds")
    times = alternate(setup.rounds, players)
    for key, theirs in times.items():
        if key[0] != "ours":
            _, label, environment, threads = key
            label += ", AVX2" if isa == "avx2" else ""
            results.against(target, name, threads, required[environment], times["ours", threads], theirs, label)
    for process in closing:
        process.close()
    results.write()
    return chosen, {threads: times["ours", threads] for threads in threads_list}


def thread_row(results, name, times):
    counts = sorted(times)
    if len(counts) == 2:
        one, two = times[counts[0]], times[counts[1]]
        results.add("C15", f"{name}, {counts[1]} threads over {counts[0]}", counts[1], one.least / two.least, 1.85, ours=two,
                    peer=one, peer_name=f"ours, {counts[0]} thread", ratio_median=one.median / two.median)


def fill_cache(setup):
    """Starts every compiled peer that the rows need once, so that a later run finds its code in --output."""
    wanted = [(row, size, threads, isa) for row, size, isa in (("C8", "S", "native"), ("C9", "L", "native"),
                                                               ("C11", "S", "avx2")) if row in setup.rows
              for threads in (setup.threads if row == "C8" or setup.full else setup.threads[-1:])]
    if "C12" in setup.rows:
        for item in TRAINING:
            for mode, layout in training_variants(setup):
                if mode == "compile":
                    torch_training(setup, item, setup.threads[-1], "tuned", mode, layout).close()
    for row, size, threads, isa in wanted:
        for mode, layout in variants(setup).get("compiled", []):
            start = time.time()
            torch_network(setup, size, threads, "tuned", mode, layout, isa).close()
            log(f"{row}: ready in {time.time() - start:.0f} s")


def network_groups(setup, results):
    chosen, own = None, None
    if "C8" in setup.rows:
        chosen, own = network_rows(setup, results, "C8", "S", setup.threads, {"tuned": 2.0, "default": 2.5})
    if "C15" in setup.rows and len(setup.threads) > 1:
        name = f"s2m2-S {setup.width}x{setup.height}"
        if own is None:
            ours = {t: Panum(setup, t) for t in setup.threads}
            own = alternate(setup.rounds, {t: lambda p=p: p.round(name) for t, p in ours.items()})
            for process in ours.values():
                process.close()
        thread_row(results, name, own)
    if "C9" in setup.rows:
        network_rows(setup, results, "C9", "L", setup.threads if setup.full else setup.threads[-1:], {"tuned": 1.6},
                     choose_from=chosen)
    if "C11" in setup.rows:
        network_rows(setup, results, "C11", "S", setup.threads if setup.full else setup.threads[-1:], {"tuned": 1.8},
                     isa="avx2", choose_from=chosen)


# ---- training -------------------------------------------------------------------------------------------------------

def training_variants(setup):
    eager = [("eager", "nchw"), ("eager", "channels_last")]
    return eager + [("compile", "nchw"), ("compile", "channels_last")][:2 if setup.full else 1] if setup.compile else eager


def scout_training(setup, results, item, threads):
    """The best layout of eager peers, and the best of compiled ones, by two rounds in the tuned environment."""
    times = {}
    for mode, layout in training_variants(setup):
        try:
            peer = torch_training(setup, item, threads, "tuned", mode, layout)
            times[mode, layout] = min(peer.round() for _ in range(1 if setup.quick else 2))
            peer.close()
        except RuntimeError as error:
            results.notes.append(f"torch training S2M2-{item[0]} {mode} {layout} does not run: {str(error)[-300:]!r}")
    results.notes.append(f"torch training S2M2-{item[0]} {item[1]}x{item[2]}, {threads} threads, tuned, two rounds each: " +
                         ", ".join(f"{' '.join(key)} {seconds:.3f} s" for key, seconds in times.items()))
    return [min(of_mode, key=times.get) for of_mode in ([key for key in times if key[0] == mode]
                                                        for mode in ("eager", "compile")) if of_mode]


def training_rows(setup, results):
    for item in [("XS", 96, 64)] if setup.quick else TRAINING:
        for threads in setup.threads if setup.full else setup.threads[-1:]:
            training_row(setup, results, item, threads)


def training_row(setup, results, item, threads):
    """Time and memory in one: what a process takes from its start (interpreter and libraries loaded, no network yet) to
    the end of its last round. Our peak is not measured in ours, because that takes memory too."""
    name = "train-s2m2-{} {}x{}".format(*item)
    recomputing = "train-s2m2-{}-recompute {}x{}".format(*item)
    chosen = scout_training(setup, results, item, threads)
    # A process for each of ours: the peak of one must not be in the other's.
    ours = {row: Panum(setup, threads) for row in (name, recomputing)}
    start = {row: process.memory("VmRSS") for row, process in ours.items()}
    for row, process in ours.items():
        process.round(row)
    first = ours[name].prepared[name]["first_loss"]
    players, peers, alike = {row: functools.partial(process.round, row) for row, process in ours.items()}, {}, {}
    for environment in ("tuned", "default"):
        for mode, layout in chosen:
            key = (environment, mode, layout)
            peers[key] = torch_training(setup, item, threads, *key)
            players[key] = peers[key].round
            alike[key] = abs(peers[key].facts["first_loss"] / first - 1)
    results.notes.append(f"{name}: loss of the first step {first:.6g}, that of the peers differs by up to "
                         f"{max(alike.values()):.1e} of it (a row counts where that is at most 0.01)")
    times = alternate(setup.rounds, players)
    taken = {row: process.memory("VmHWM") - start[row] for row, process in ours.items()}
    theirs = {key: peer.memory("VmHWM") - 1024 * peer.facts["start_kb"] for key, peer in peers.items()}
    least = min((key for key in peers if key[1] == "eager"), key=theirs.get)
    for row in ours:
        for key in peers:
            environment, mode, layout = key
            label = f"torch {mode} {layout}, {environment}"
            same = alike[key] <= 0.01
            results.against("C12", row, threads, 1.5, times[row], times[key], label,
                            counts=same and environment == "tuned")
            # A compiled peer has its compiler in memory: that is told only. Time and memory are asked for together, so
            # both count for the one that recomputes; the memory of the one that keeps everything is told.
            results.add("C12", f"memory of {row}, ours / theirs", threads, taken[row] / theirs[key], 0.5,
                        ours=Times([taken[row] / 2**20]), peer=Times([theirs[key] / 2**20]), unit="MiB", below=True,
                        peer_name=label, counts=same and key == least and row == recomputing)
            results.rows[-1]["unit"] = "of theirs (MiB)"
    for process in [*ours.values(), *peers.values()]:
        process.close()
    results.write()


# ---- the machine around it ------------------------------------------------------------------------------------------

def busy_rows(setup, results):
    """C16: a process that wants a core for itself, pinned nowhere, stopped and continued between our rounds."""
    threads, name = setup.threads[-1], f"s2m2-S {setup.width}x{setup.height}"
    sides = {"ours": (lambda p: lambda: p.round(name))(Panum(setup, threads))}
    if setup.full and setup.reference:
        sides["torch eager nchw, tuned"] = torch_network(setup, "S", threads, "tuned", "eager", "nchw").round
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def beside_busy(play):
        os.kill(busy.pid, signal.SIGCONT)
        try:
            return play()
        finally:
            os.kill(busy.pid, signal.SIGSTOP)

    try:
        os.kill(busy.pid, signal.SIGSTOP)
        players = {}
        for side, play in sides.items():
            players[side, False] = play
            players[side, True] = lambda p=play: beside_busy(p)
        times = alternate(setup.rounds, players)
    finally:
        busy.kill()
        busy.wait()
    for side in sides:
        with_it, alone = times[side, True], times[side, False]
        results.add("C16", f"{name}, {side}: median beside a busy process over alone", threads,
                    with_it.median / alone.median, 2.0, ours=with_it, peer=alone, peer_name="alone", below=True,
                    counts=side == "ours")
    Process.close_all()


def cold_rows(setup, results):
    """C17, from outside: the start of the program to its first product; and weights mapped, planned, packed."""
    first, packed = Times(), Times()
    name = f"s2m2-S {setup.width}x{setup.height}"
    for r in range(setup.rounds + 1):
        start = time.perf_counter()
        ours = Panum(setup, setup.threads[-1])
        ours.ask("gemm 345x256x256")
        seconds = time.perf_counter() - start
        ours.close()
        ours = Panum(setup, setup.threads[-1], weights=setup.weights)
        prepare = ours.ask(name)["prepare_s"]
        ours.close()
        if r:
            first.append(seconds)
            packed.append(prepare)
    for what, times, required in (("start of the process to the first product", first, 50),
                                  ("weights of S mapped, planned, packed", packed, 150)):
        results.add("C17", what, setup.threads[-1], 1e3 * times.median, required, ours=times, unit="ms, median", below=True)
        results.rows[-1].update(ours_min=1e3 * times.least, ours_median=1e3 * times.median)


def write_png(path, width, height, seed):
    """RGB noise whose rows are shifted by the seed: a pair of them matches somewhere."""
    base = bytes((i * 2654435761 >> 13) & 255 for i in range(4099))
    rows = b"".join(b"\0" + (base * (3 * width // 4099 + 2))[(y * 37 + 3 * seed) % 4000:][:3 * width] for y in range(height))

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def peak_of_match(setup, width, height):
    """Bytes of the high-water mark of a whole `panum match`, files in and out."""
    paths = [os.path.join(setup.scratch, f"{side}.png") for side in ("left", "right")]
    for i, path in enumerate(paths):
        write_png(path, width, height, 8 * i)
    command = [setup.panum, "match", *paths, "--model", "s2m2-S", "--weights", setup.weights, "--layout", "pair", "-q", "-y",
               "-o", os.path.join(setup.scratch, "d.npz"), "--threads", str(setup.threads[-1])]
    process = subprocess.Popen(command, env=own_environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}")
    return usage.ru_maxrss * 1024


def memory_rows(setup, results):
    sizes = [(setup.width, setup.height)] if setup.quick else [(736, 480), (1920, 1056)]
    for width, height in sizes:
        ours = peak_of_match(setup, width, height)
        log(f"memory of torch at {width}x{height}")
        for environment in ("default", "tuned") if (width, height) == sizes[0] else ("default",):
            command = [setup.python, os.path.join(HERE, "peers", "torch_s2m2.py"), "--reference", setup.reference,
                       "--height", str(height), "--width", str(width), "--threads", str(setup.threads[-1]), "--cpus",
                       ",".join(map(str, setup.cpus[:setup.threads[-1]])), "--environment", environment, "--rounds", "1",
                       "--warmup", "0"]
            report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            theirs = report["memory_kb"]["peak_forward"] * 1024
            results.add("C13", f"peak of s2m2-S {width}x{height}, ours / theirs", setup.threads[-1], ours / theirs, 1 / 3,
                        ours=Times([ours / 2**20]), peer=Times([theirs / 2**20]), unit="MiB", below=True,
                        peer_name=f"torch eager nchw, {environment}", counts=environment == "default")
            results.rows[-1]["unit"] = "of theirs (MiB)"
    run = subprocess.run([setup.panum, "bench", "--only", "memory", "--json", "--threads", str(setup.threads[-1])], check=True,
                         capture_output=True, text=True, env=own_environment())
    for network in json.loads(run.stdout)["memory"]:
        differ = abs(network["measured"] / network["promised"] - 1)
        results.add("C13", f"{network['network']}: promised {network['promised'] / 2**20:.0f} MiB, measured "
                    f"{network['measured'] / 2**20:.0f}, apart", setup.threads[-1], differ, 0.05, unit="", below=True,
                    peer_name="the plan's promise")


def size_row(setup, results):
    stripped = os.path.join(setup.scratch, "panum")
    subprocess.run(["strip", "-o", stripped, setup.panum], check=True)
    # 2 MB without the host side of CUDA and 4 with it: it is in.
    results.add("C18", "the program, stripped", 0, os.path.getsize(stripped) / 1e6, 4, unit="MB", below=True)


# ---- the run --------------------------------------------------------------------------------------------------------

def run_tests(setup):
    build = os.path.dirname(setup.panum)
    rooms = ["ops", "exec", "models"] + (["autograd", "losses", "nn"] if "C12" in setup.rows else [])
    programs = sorted(p for room in rooms for p in glob.glob(f"{build}/tests/{room}/test_*")
                      if os.access(p, os.X_OK) and "." not in os.path.basename(p))
    failed = []
    for program in programs:
        log(f"test {os.path.basename(program)}")
        if subprocess.run([program], cwd=os.path.join(HERE, ".."), env={**own_environment(), "PANUM_BUILD": build},
                          capture_output=True).returncode:
            failed.append(os.path.basename(program))
    if not programs:
        return "none is built (make test builds them): no target counts"
    return f"{len(programs)} programs of {', '.join(rooms)}, " + (f"FAILED: {', '.join(failed)}" if failed
                                                                          else "all green")


def versions(setup):
    script = ("import json,torch,numpy;print(json.dumps({'torch':torch.__version__,'numpy':numpy.__version__,"
              "'oneDNN':torch.backends.mkldnn.is_available() and "
              "next((l.split('v',1)[1].split(' ')[0] for l in torch.__config__.show().splitlines() if 'MKL-DNN' in l or "
              "'oneDNN' in l),'')}))")
    run = subprocess.run([setup.python, "-c", script], capture_output=True, text=True)
    return json.loads(run.stdout) if run.returncode == 0 else {}


def prepare():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--panum", default="build/panum")
    parser.add_argument("--python", default=sys.executable, help="the Python that has torch")
    parser.add_argument("--reference", help="checkout of the public S2M2 code")
    parser.add_argument("--output", default="build/compare")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--tests", action=argparse.BooleanOptionalAction, default=True)
    setup = parser.parse_args()
    setup.rows = set(setup.rows.upper().split(","))
    unknown = setup.rows - set(ROWS)
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    setup.panum = os.path.abspath(setup.panum)
    setup.reference = os.path.abspath(setup.reference) if setup.reference else None
    setup.cpus = sorted(os.sched_getaffinity(0))
    setup.threads = sorted(int(t) for t in setup.threads.split(","))
    if setup.threads[-1] > len(setup.cpus):
        parser.error(f"{setup.threads[-1]} threads on {len(setup.cpus)} cores")
    if setup.rows & NEEDS_REFERENCE and not setup.reference:
        parser.error(f"{', '.join(sorted(setup.rows & NEEDS_REFERENCE))} need --reference")
    setup.width, setup.height = (256, 192) if setup.quick else (736, 480)
    if setup.compile is None:
        setup.compile = not setup.quick
    if setup.quick:
        setup.rounds = 1
    setup.peer_versions = versions(setup) if setup.rows & NEEDS_PEERS else {}
    if setup.rows & NEEDS_PEERS and not setup.peer_versions:
        parser.error(f"{setup.python} has no torch and numpy; --python names one that has (tools/ref/README.md)")
    run = subprocess.run([setup.panum, "--version"], check=True, capture_output=True, text=True)
    setup.version = run.stdout.split("\n")[0].removeprefix("panum ")
    return setup


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))  # so that what was started is ended
    setup = prepare()
    setup.scratch = tempfile.mkdtemp(prefix="panum-compare-")
    setup.cache = os.path.join(os.path.abspath(setup.output), "inductor")
    setup.weights = os.path.join(setup.scratch, "s2m2-S.safetensors")
    order = sorted(setup.rows, key=lambda row: -MINUTES[row])
    log(f"load {os.getloadavg()[0]:.2f}; about {sum(MINUTES[r] for r in order):.0f} minutes, the longest: " +
        ", ".join(f"{r} {MINUTES[r]:g}" for r in order[:4]))
    try:
        if setup.prepare:
            return fill_cache(setup)
        setup.tests = run_tests(setup) if setup.tests else "not run"
        results = Results(setup)
        if setup.rows & {"C13", "C17"}:
            subprocess.run([setup.panum, "model", "seed", "s2m2-S", "-q", "-o", setup.weights], check=True)
        groups = [({"C18"}, size_row), ({"C17"}, cold_rows), ({"C1", "C3"}, rows_of_peak),
                  ({"C2", "C4", "C5", "C6", "C7"}, layer_rows), ({"C16"}, busy_rows), ({"C13"}, memory_rows),
                  ({"C12"}, training_rows),
                  ({"C8", "C9", "C11", "C15"}, network_groups)]
        for rows, run in groups:
            if rows & setup.rows:
                log(f"{', '.join(sorted(rows & setup.rows))}: load {os.getloadavg()[0]:.2f}")
                run(setup, results)
                results.write()
        print(results.markdown(results.header()))
    finally:
        Process.close_all()
        shutil.rmtree(setup.scratch)


if __name__ == "__main__":
    main()
