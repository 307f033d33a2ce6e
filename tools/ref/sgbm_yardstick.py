#!/usr/bin/env python3
"""Measures our semi-global matcher beside OpenCV's StereoSGBM on the 17 pairs with ground truth.

Needs numpy and opencv-python-headless in the Python that runs it, and build/bench/bench_sgm.

  python3 tools/ref/sgbm_yardstick.py [--data ../shared/data/stereo_gt] [--bench build/bench/bench_sgm]
          [--scratch build/yardstick] [--rounds 5] [--threads 1] [--cpu] [--choose]
  python3 tools/ref/sgbm_yardstick.py --record bench/stereo_gt/StereoSGBM.tsv    (what panum judge --beside reads)

Each scene is shown three times under the signed rule (whole-pixel crop, no resampling): c is the 25th, 50th and 75th
percentile of the truth, so that a quarter, half and three quarters of the scene lie in front of the screen. A pixel is
judged when its truth is known, its match lies inside the other picture and is not hidden there. bad-2 is the share of
judged pixels farther than 2 px from the truth (a missing pixel is wrong), sign is the share of judged pixels with
|d| > 2 px whose sign is right.

StereoSGBM gets MODE_HH (8 paths, one thread, as OpenCV has it), the TRUE range, P1 = 8 ch bs^2, P2 = 32 ch bs^2, and
its gaps filled along the row with the farther neighbour. --choose tries a grid of its parameters over all pictures; the
defaults below are the best of that grid. Ours runs twice: once finding the range itself, once given the true one.
Both sides alternate, picture by picture; times are the minimum over the rounds, of matching alone (fill included).
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import time

import cv2
import numpy as np

SGBM = dict(bs=3, uniqueness=10, speckle=100, cap=31, p1=8, p2=32)


def imread(path):
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None:
        sys.exit(f"cannot read {path}")
    return image


def read_pfm(path):
    with open(path, "rb") as f:
        kind = f.readline().strip()
        width, height = map(int, f.readline().split())
        scale = float(f.readline())
        data = np.frombuffer(f.read(), "<f4" if scale < 0 else ">f4")
    assert kind == b"Pf"
    return data.reshape(height, width)[::-1].astype(np.float64)


def write_pfm(path, array):
    with open(path, "wb") as f:
        f.write(b"Pf\n%d %d\n-1.0\n" % (array.shape[1], array.shape[0]))
        f.write(array[::-1].astype("<f4").tobytes())


def hidden_by_right(d, d_right):
    """True where the right eye's truth at the match does not agree within 1 px (or is unknown)."""
    h, w = d.shape
    x = np.arange(w)[None, :] - np.nan_to_num(d)
    xi = np.clip(np.rint(x).astype(int), 0, w - 1)
    other = np.take_along_axis(d_right, xi, axis=1)
    return ~(np.abs(other - d) <= 1)


def load(root, scene):
    """left, right (uint8, BGR or grey), truth (NaN where unknown), visible in both eyes (bool)."""
    p = lambda name: os.path.join(root, scene, name)
    nan = lambda a, scale: np.where(a > 0, a / scale, np.nan)
    if scene == "midd2001_tsukuba":
        d = nan(imread(p("truedisp.row3.col3.pgm")).astype(float), 16)
        return imread(p("scene1.row3.col3.ppm")), imread(p("scene1.row3.col4.ppm")), d, grey(imread(p("nonocc.png"))) == 255
    if scene == "midd2003_cones":
        d = nan(grey(imread(p("disp2.png"))).astype(float), 4)
        return imread(p("im2.png")), imread(p("im6.png")), d, grey(imread(p("nonocc.png"))) == 255
    if scene.startswith("midd2005") or scene.startswith("midd2006"):
        scale = 2 if "2005" in scene else 3
        d = nan(grey(imread(p("disp1.png"))).astype(float), scale)
        d_right = nan(grey(imread(p("disp5.png"))).astype(float), scale)
        return imread(p("view1.png")), imread(p("view5.png")), d, ~hidden_by_right(d, d_right)
    if scene == "midd2014_Adirondack":
        d = nan(grey(imread(p("gt.png"))).astype(float), 1)
        return imread(p("left.png")), imread(p("right.png")), d, grey(imread(p("mask.png"))) == 255
    if scene == "eth3d_terrace_2s":
        d = read_pfm(p("disp0.pfm"))
        d = np.where(np.isfinite(d), d, np.nan)
        return imread(p("im0.png")), imread(p("im1.png")), d, np.isfinite(d)
    d = nan(imread(p("disp_occ_10.png")).astype(float), 256)
    seen = imread(p("disp_noc_10.png")) > 0
    return imread(p("image_0_10.png")), imread(p("image_1_10.png")), d, seen


def grey(image):
    return image if image.ndim == 2 else image[:, :, 0]


def signed_cases(root):
    for scene in sorted(os.listdir(root)):
        left, right, d, seen = load(root, scene)
        if left.ndim == 3:
            left, right = left[:, :, :3], right[:, :, :3]
        for q in (25, 50, 75):
            c = int(round(float(np.nanpercentile(d, q))))
            lc = np.ascontiguousarray(left[:, c:])
            rc = np.ascontiguousarray(right[:, : right.shape[1] - c])
            truth = d[:, c:] - c
            w = truth.shape[1]
            match = np.arange(w)[None, :] - truth
            with np.errstate(invalid="ignore"):
                judged = seen[:, c:] & (match >= 0) & (match <= w - 1)
            known = truth[np.isfinite(truth)]
            yield dict(name=f"{scene}_{q}", scene=scene, left=lc, right=rc, truth=np.where(judged, truth, np.nan),
                       lo=int(np.floor(known.min())), hi=int(np.ceil(known.max())))


def judge(pred, truth):
    m = np.isfinite(truth)
    with np.errstate(invalid="ignore"):
        good = np.abs(pred[m] - truth[m]) <= 2
        far = np.abs(truth[m]) > 2
        sign = np.sign(pred[m][far]) == np.sign(truth[m][far])
    return 100 * (1 - good.mean()), 100 * sign.mean() if far.any() else 100.0


def fill_rows(d, bad):
    """Each gap takes the farther (smaller) of its two neighbours in the row; at the border the only one."""
    h, w = d.shape
    x = np.arange(w)[None, :].repeat(h, 0)
    before = np.maximum.accumulate(np.where(bad, -1, x), axis=1)
    after = np.minimum.accumulate(np.where(bad, w, x)[:, ::-1], axis=1)[:, ::-1]
    a = np.where(before >= 0, np.take_along_axis(d, np.maximum(before, 0), 1), np.inf)
    b = np.where(after < w, np.take_along_axis(d, np.minimum(after, w - 1), 1), np.inf)
    out = np.where(bad, np.minimum(a, b), d)
    return np.where(np.isfinite(out), out, 0)


def run_sgbm(case, o, clock=time.perf_counter):
    left, right = case["left"], case["right"]
    ch = 1 if left.ndim == 2 else 3
    count = -(-(case["hi"] - case["lo"] + 1) // 16) * 16
    m = cv2.StereoSGBM_create(minDisparity=case["lo"], numDisparities=count, blockSize=o["bs"],
                              P1=o["p1"] * ch * o["bs"] ** 2, P2=o["p2"] * ch * o["bs"] ** 2, disp12MaxDiff=1,
                              preFilterCap=o["cap"], uniquenessRatio=o["uniqueness"], speckleWindowSize=o["speckle"],
                              speckleRange=2, mode=cv2.STEREO_SGBM_MODE_HH)
    start = clock()
    raw = m.compute(left, right)
    d = fill_rows(raw.astype(np.float32) / 16, raw < case["lo"] * 16)
    return d, clock() - start


def choose(cases):
    results = []
    for bs, uniqueness, speckle, cap in itertools.product((3, 5), (0, 5, 10), (0, 100), (15, 31, 63)):
        o = dict(SGBM, bs=bs, uniqueness=uniqueness, speckle=speckle, cap=cap)
        scores = [judge(run_sgbm(c, o)[0], c["truth"]) for c in cases]
        results.append((np.mean([s[0] for s in scores]), np.mean([s[1] for s in scores]), o))
        print(f"{results[-1][0]:6.3f} {results[-1][1]:6.2f} {o}", flush=True)
    best = min(results, key=lambda r: r[0])
    print("best:", best[2])


def record(cases, path):
    with open(path, "w") as f:
        f.write(f"# OpenCV {cv2.__version__} StereoSGBM (MODE_HH, blocks of 3, uniqueness 10, speckles below 100 out, gaps filled along the row with the\n"
                "# farther neighbour), given the true range of each pair, under the signed rule with the screen at this percentile of the\n"
                "# truth. Written by tools/ref/sgbm_yardstick.py --record. bad_2 and sign in percent of pixels that both eyes see.\n"
                "name\tplane\tbad_2\tsign\n")
        for c in cases:
            bad, sign = judge(run_sgbm(c, SGBM)[0], c["truth"])
            name, plane = c["name"].rsplit("_", 1)
            f.write(f"{name}\t{plane}\t{bad:.4f}\t{sign:.4f}\n")


def write_cases(cases, scratch):
    os.makedirs(scratch, exist_ok=True)
    with open(os.path.join(scratch, "list.txt"), "w") as f:
        for c in cases:
            base = os.path.join(scratch, c["name"])
            extension = "pgm" if c["left"].ndim == 2 else "ppm"
            cv2.imwrite(f"{base}_l.{extension}", c["left"])
            cv2.imwrite(f"{base}_r.{extension}", c["right"])
            write_pfm(f"{base}_t.pfm", c["truth"])
            f.write(f"{base}_l.{extension} {base}_r.{extension} {base}_t.pfm {c['lo']} {c['hi']}\n")
            c["files"] = (f"{base}_l.{extension}", f"{base}_r.{extension}", f"{base}_o.pfm")


def run_ours(bench, case, threads, given, clock):
    left, right, out = case["files"]
    command = [bench, left, right, "-o", out, "--threads", str(threads), "--rounds", "3", "--json"]
    if given:
        command += ["--range", f"{case['lo']}:{case['hi']}"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return read_pfm(out), said[clock], said["lo"], said["hi"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", default="../shared/data/stereo_gt")
    p.add_argument("--bench", default="build/bench/bench_sgm")
    p.add_argument("--scratch", default="build/yardstick")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--cpu", action="store_true", help="time by the process's CPU time, steadier on a busy machine")
    p.add_argument("--choose", action="store_true")
    p.add_argument("--record", metavar="FILE", help="write StereoSGBM's figures, then stop")
    p.add_argument("--write-only", action="store_true", help="write the pictures and bench_sgm's list, then stop")
    a = p.parse_args()
    cv2.setNumThreads(1)
    cases = list(signed_cases(a.data))
    if a.choose:
        return choose(cases)
    if a.record:
        return record(cases, a.record)
    write_cases(cases, a.scratch)
    if a.write_only:
        return
    rows = {}
    clock = "cpu_seconds" if a.cpu else "seconds"
    for c in cases:
        times = [[], [], []]
        for _ in range(a.rounds):
            d, seconds = run_sgbm(c, SGBM, time.process_time if a.cpu else time.perf_counter)
            times[0].append(seconds)
            d_auto, seconds, lo, hi = run_ours(a.bench, c, a.threads, False, clock)
            times[1].append(seconds)
            d_true, seconds, _, _ = run_ours(a.bench, c, a.threads, True, clock)
            times[2].append(seconds)
        rows.setdefault(c["scene"], []).append(
            [*judge(d, c["truth"]), min(times[0]), *judge(d_auto, c["truth"]), min(times[1]), *judge(d_true, c["truth"]), min(times[2])])
        print(f"# {c['name']}: true {c['lo']}..{c['hi']}, found {lo}..{hi}", flush=True)
    print(f"opencv {cv2.__version__} 1 thread, ours {a.threads} thread(s); {clock}, mean of three planes; load {os.getloadavg()[0]:.1f}")
    print(f"{'scene':24s} | OpenCV, true range    | ours, range found     | ours, true range")
    print(f"{'':24s} | bad-2   sign      ms  | bad-2   sign      ms  | bad-2   sign      ms")
    scenes = [(s, np.mean(r, axis=0)) for s, r in rows.items()]
    scenes.append(("mean", np.mean([r for _, r in scenes], axis=0)))
    for name, m in scenes:
        part = lambda i: f"{m[i]:6.2f} {m[i + 1]:6.2f} {1000 * m[i + 2]:7.1f}"
        print(f"{name:24s} | {part(0)}  | {part(3)}  | {part(6)}")


if __name__ == "__main__":
    main()
