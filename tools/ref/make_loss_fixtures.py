"""Writes tests/fixtures/losses/*.safetensors: values and gradients of the training losses, by PyTorch in float64.

usage: python make_loss_fixtures.py [--out FOLDER]

No code of others is run: the losses are written here once more, in PyTorch's words, from the formulas at the top of
losses/*.c, and PyTorch differentiates them. `parity` has the pictures and maps made by formula (the test makes them
too) and every second row and fifth column of each gradient; its values are printed beside the published parity figures
of s2m2cinematic. `random` (the cinematic losses again) and `stages` (those with truth, on all stages of a match) carry
their inputs, exact in float32, and whole gradients.
"""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

import store
from seeded import uniform

torch.set_default_dtype(torch.float64)

PUBLISHED = {
    "photometric": 0.453070312, "anchor": 11.416283169, "sign": 2.551420934, "magnitude": 6.094990713,
    "sign_magnitude": 5.031919779, "smoothness": 6.320168302, "phase_1": 9.541891872, "phase_2": 8.084255140,
    "phase_3": 8.678521880, "translucency_1.5": 11.885334801, "translucency_3": 18.040664856, "mask": 0.41693747,
}
PHASES = {  # photometric, anchor, sign and magnitude, smoothness, translucency, boost
    "phase_1": (1, 0.3, 1, 0.1, 0, 0), "phase_2": (1, 0.2, 1, 0.05, 0, 0), "phase_3": (1, 0.2, 1, 0.05, 0.05, 1.5),
    "translucent": (1, 0.2, 0.5, 0.05, 0.5, 3),
}


def masked(x, weight):
    return (x * weight).sum() / weight.sum().clamp(min=1)


def at_columns(picture, position):
    """Linear reading along the rows, positions held inside; the gradient is that of the reading, 0 where held."""
    n, c, h, w = picture.shape
    held = position.clamp(0, w - 1)
    left = held.detach().floor().clamp(max=w - 2).long().expand(n, c, h, w)
    part = held - held.detach().floor().clamp(max=w - 2)
    return picture.gather(3, left) * (1 - part) + picture.gather(3, left + 1) * part


def columns_of(x):
    return torch.arange(x.shape[3], dtype=x.dtype).view(1, 1, 1, -1)


def photometric(d, left, right):
    position = columns_of(d) - d
    moved = at_columns(right, position)
    inside = ((position > 0) & (position < d.shape[3] - 1)).to(d.dtype)

    def box(x):
        return F.avg_pool2d(x, 3, 1, 1)

    ml, mr = box(left), box(moved)
    sl, sr = (box(left**2) - ml**2).clamp(min=0), (box(moved**2) - mr**2).clamp(min=0)
    slr = box(left * moved) - ml * mr
    ssim = (2 * ml * mr + 1e-4) * (2 * slr + 9e-4) / ((ml**2 + mr**2 + 1e-4) * (sl + sr + 9e-4))
    e = 0.85 * ((1 - ssim) / 2).clamp(0, 1).mean(1, True) + 0.15 * (left - moved).abs().mean(1, True)
    return masked(e, inside)


def anchor(d, gt, conf, occ, positive):
    weight = conf * occ * (gt > 2 if positive else torch.ones_like(gt))
    return masked((d - gt).abs(), weight)


def sign_magnitude(d, target, weight):
    active = (weight > 0).to(d.dtype)
    sign = masked((-d * target.sign()).clamp(min=0), active)
    magnitude = masked(weight * (d - target).abs(), active)
    return sign, magnitude, 0.3 * sign + 0.7 * magnitude


def smoothness(d, left):
    def part(axis):
        damping = torch.exp(-left.diff(dim=axis).abs().mean(1, True))
        return (d.diff(dim=axis).abs() * damping).mean()

    return part(3) + part(2)


def translucency(d, left, right, gt, conf, occ, boost, reference):
    with torch.no_grad():
        w = d.shape[3]
        moved = at_columns(right, columns_of(d) + d * (w - 1) / w if reference else columns_of(d) - d)

        def change(x):
            return (F.pad(x.diff(dim=3).abs().mean(1, True), (0, 1)) +
                    F.pad(x.diff(dim=2).abs().mean(1, True), (0, 0, 0, 1)))

        low = ((conf < 0.4) & (occ > 0.5)).to(d.dtype)
        mismatch = ((left - moved).abs().mean(1, True) > 0.08).to(d.dtype)
        edge = ((change(d) > 2) & (change(left) < 0.1)).to(d.dtype)
        mask = F.avg_pool2d((0.4 * low + 0.4 * mismatch + 0.2 * edge).clamp(0, 1), 5, 1, 2).clamp(0, 1)
        counted = conf > 0.05
        if reference:
            counted = counted | (mask > 0.3)
    return masked((1 + (boost - 1) * mask) * (d - gt).abs(), counted.to(d.dtype)), mask.mean()


def cinematic(d, s, reference):
    """Every term by name, and the totals of the phases."""
    terms = {"photometric": photometric(d, s["left"], s["right"]),
             "anchor": anchor(d, s["gt"], s["conf"], s["occ"], reference),
             "smoothness": smoothness(d, s["left"])}
    terms["sign"], terms["magnitude"], terms["sign_magnitude"] = sign_magnitude(d, s["target"], s["weight"])
    for boost in (1.5, 3):
        loss, terms["mask"] = translucency(d, s["left"], s["right"], s["gt"], s["conf"], s["occ"], boost, reference)
        terms[f"translucency_{boost}"] = loss
    for name, (p, a, m, smooth, t, boost) in PHASES.items():
        terms[name] = (p * terms["photometric"] + a * terms["anchor"] + m * terms["sign_magnitude"] +
                       smooth * terms["smoothness"])
        if t:
            terms[name] = terms[name] + t * terms[f"translucency_{boost}"]
    return terms


def reference_matcher(left, right):
    """Block matching of the reference, float64: target (x_right - x_left) and weight."""
    n, _, h, w = left.shape
    gl, gr = (F.avg_pool2d(x, 2).mean(1, True) for x in (left, right))

    def box(x):
        return F.avg_pool2d(x, 11, 1, 5)

    def deviation(x):
        return (box(x**2) - box(x)**2).clamp(min=1e-8).sqrt()

    best, shift = torch.full_like(gl, -1), torch.zeros_like(gl)
    for s in [*range(-24, 0), *range(1, 25)]:
        moved = torch.zeros_like(gr)
        if s > 0:
            moved[..., :-s] = gr[..., s:]
        else:
            moved[..., -s:] = gr[..., :s]
        c = (box(gl * moved) - box(gl) * box(moved)) / (deviation(gl) * deviation(moved) + 1e-8)
        shift, best = torch.where(c > best, torch.full_like(gl, s), shift), torch.maximum(best, c)
    target, weight = (F.interpolate(x, size=(h, w), mode="nearest") for x in (2 * shift, best.clamp(min=0)))
    return target, weight * (weight > 0.3)


def gradients(terms, d):
    for name, value in terms.items():
        if value.requires_grad:
            yield name, torch.autograd.grad(value, d, retain_graph=True)[0]


def parity():
    h, w = 64, 128
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")

    def picture(column):
        planes = [(37 * column + 17 * y + 91 * c + column * y // 4 + column * column // 8) % 256 for c in range(3)]
        return torch.stack(planes)[None] / 255

    def plane(values):
        return values[None, None].double()

    s = {"left": picture(x), "right": picture(x + 3), "gt": plane((5 * x + 11 * y) % 23 - 3),
         "conf": plane((x + 2 * y) % 10) / 10, "occ": plane((3 * x + y) % 7) / 6}
    s["target"], s["weight"] = reference_matcher(s["left"], s["right"])
    d = (plane((7 * x + 3 * y) % 41 - 20) / 2).requires_grad_()
    terms = cinematic(d, s, True)
    tensors, metadata = {}, {name: repr(value.item()) for name, value in terms.items()}
    for name, gradient in gradients(terms, d):
        tensors[name] = gradient[0, 0, ::2, ::5].contiguous().numpy().astype(np.float32)
    for name, value in PUBLISHED.items():
        print(f"{name:18s} {terms[name].item():.9f} published {value:.9f}")
    active = s["weight"] > 0
    print("active", int(active.sum()), "mean target", s["target"][active].mean().item())
    return tensors, metadata


def random_case():
    n, h, w = 2, 22, 37
    tensors, metadata = {}, {}

    def keep(name, values):
        tensors[name] = np.ascontiguousarray(np.asarray(values, np.float64).astype(np.float32))
        return torch.from_numpy(tensors[name].astype(np.float64))

    def draw(name, channels=1):
        return torch.from_numpy(uniform(f"losses/random/{name}", n * channels * h * w).reshape(n, channels, h, w))

    def smooth(x):
        for _ in range(2):
            x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return x

    s = {"left": keep("left", (0.5 + smooth(draw("left", 3))).clamp(0, 1)),
         "right": keep("right", (0.5 + smooth(draw("right", 3))).clamp(0, 1)),
         "gt": keep("gt", 6 * draw("gt")), "conf": keep("conf", (0.5 + 0.7 * draw("conf")).clamp(0, 1)),
         "occ": keep("occ", 0.5 + 0.5 * draw("occ")), "target": keep("target", 6 * draw("target")),
         "weight": keep("weight", (0.4 + 0.6 * draw("weight")).clamp(0, 1))}
    d = keep("disparity", 5 * draw("disparity") + 3 * smooth(draw("base"))).requires_grad_()
    for rule in ("ours", "reference"):
        terms = cinematic(d, s, rule == "reference")
        for name, value in terms.items():
            metadata[f"{rule}.{name}"] = repr(value.item())
        for name, gradient in gradients(terms, d):
            if rule == "ours" or not np.array_equal(gradient.numpy().astype(np.float32), tensors[f"ours.{name}"]):
                tensors[f"{rule}.{name}"] = gradient.numpy().astype(np.float32)
    return tensors, metadata


def transport(cv, iterations=3):
    """The plan without dustbins of each row of cv [n, h, w, w], and the estimates made from it."""
    w = cv.shape[-1]
    scores = F.pad(cv, (0, 1, 0, 1))
    marginal = torch.full((w + 1,), -np.log(2 * w))
    marginal[w] = -np.log(2)
    u = torch.zeros(scores.shape[:-1])
    for _ in range(iterations):
        v = marginal - torch.logsumexp(scores + u[..., :, None], -2)
        u = marginal - torch.logsumexp(scores + v[..., None, :], -1)
    plan = torch.exp(scores + u[..., :, None] + v[..., None, :] + np.log(2 * w))[..., :w, :w]
    at = torch.arange(w, dtype=plan.dtype)
    near = ((at - plan.argmax(-1, True)).abs() <= 2).to(plan.dtype) * plan
    confidence = near.sum(-1)
    disparity = at - ((near * at).sum(-1) + 1e-4) / (confidence + 1e-4)
    return plan, disparity[:, None], confidence[:, None], plan.sum(-1)[:, None]


def enlarged(x, factor):
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def cross_entropy(p, yes):
    q = 1e-4 + (1 - 2e-4) * p
    return -(yes * torch.log(q) + (1 - yes) * torch.log(1 - q))


def matching(s, stages, plan, factor=4):
    """stages: (disparity, confidence, occlusion, factor, share), the first of them the initial one."""
    sums, shares = {}, {}
    known = s["valid"]

    def add(name, value, share):
        sums[name] = sums.get(name, 0) + share * value
        shares[name] = shares.get(name, 0) + share

    for i, (d, confidence, occlusion, f, share) in enumerate(stages):
        error = (enlarged(d, f) * f - s["truth"]).abs()
        bent = error if i < 2 else torch.where(s["judged"] * s["seen"] > 0.5, 8 * torch.log(1 + error / 8), error)
        add("disparity", masked(bent, known * (error <= 2 * f) if i == 0 else known), share)
        if confidence is not None:
            add("confidence", masked(cross_entropy(enlarged(confidence, f), (error < 4).to(error.dtype)), known), share)
            add("occlusion", masked(cross_entropy(enlarged(occlusion, f), s["seen"]), s["judged"]), share)
    terms = {name: sums[name] / shares[name] for name in sums}

    n, h, w = plan.shape[:3]
    matched = ((known * s["judged"] * s["seen"]) > 0.5)
    candidates = torch.arange(w).view(1, 1, w, 1, 1) - torch.floor(
        s["truth"][:, 0].view(n, h, factor, w, factor).permute(0, 1, 3, 2, 4) / factor + 0.5).long()
    usable = matched[:, 0].view(n, h, factor, w, factor).permute(0, 1, 3, 2, 4)
    columns = torch.arange(w).view(1, 1, 1, w, 1, 1)
    window = (((columns - candidates[:, :, :, None]).abs() <= 1) & usable[:, :, :, None]).flatten(4).any(-1)
    mass = (plan * window).sum(-1)
    candidate = usable.flatten(3).any(-1).to(mass.dtype)
    terms["concentration"] = masked((1 - mass - 0.25).clamp(min=0), candidate)
    terms["concentration_log"] = masked((np.log(0.7501) - torch.log(mass + 1e-4)).clamp(min=0), candidate)
    terms["total"] = terms["disparity"] + 5 * terms["concentration"] + terms["occlusion"] + terms["confidence"]
    return terms


def stages_case():
    n, h, w, factor = 2, 3, 9, 4
    tensors, metadata = {}, {}

    def keep(name, values):
        tensors[name] = np.ascontiguousarray(np.asarray(values, np.float64).astype(np.float32))
        return torch.from_numpy(tensors[name].astype(np.float64))

    def draw(name, *shape):
        return torch.from_numpy(uniform(f"losses/stages/{name}", int(np.prod(shape))).reshape(shape))

    full, coarse = (n, 1, h * factor, w * factor), (n, 1, h, w)
    truth = torch.round(draw("base", *coarse) * 3) * factor
    s = {"truth": keep("truth", enlarged(truth, factor) + 3 * draw("truth", *full)),
         "valid": keep("valid", (draw("valid", *full) > -0.7).double()),
         "seen": keep("seen", (draw("seen", *full) > -0.4).double()),
         "judged": keep("judged", (draw("judged", *full) > -0.8).double())}
    # a correlation that peaks near the truth, not everywhere
    column = torch.arange(w, dtype=torch.float64)
    peak = column.view(1, 1, w, 1) - truth[:, 0].unsqueeze(-1) / factor - column.view(1, 1, 1, w)
    wanted = {"cv": keep("cv", 3 * torch.exp(-peak**2) + 2 * draw("cv", n, h, w, w)).requires_grad_()}
    for name, shape in (("filled", coarse), ("refined1", coarse), ("refined2", coarse), ("full", full)):
        size = 1 if shape == full else factor
        near = (enlarged(truth, factor) if shape == full else truth) / size
        wanted[f"{name}.disparity"] = keep(f"{name}.disparity", near + 6 / size * draw(name + ".d", *shape)).requires_grad_()
        if name != "filled":
            for kind in ("confidence", "occlusion"):
                value = 0.5 + 0.5 * draw(f"{name}.{kind}", *shape)
                wanted[f"{name}.{kind}"] = keep(f"{name}.{kind}", value).requires_grad_()
    plan, *initial = transport(wanted["cv"])
    stages = [(*initial, factor, 0.5), (wanted["filled.disparity"], None, None, factor, 0.5)]
    for name, f, share in (("refined1", factor, 0.8), ("refined2", factor, 1), ("full", 1, 1)):
        stages.append((*(wanted[f"{name}.{kind}"] for kind in ("disparity", "confidence", "occlusion")), f, share))
    for name, value in matching(s, stages, plan).items():
        metadata[name] = repr(value.item())
        found = torch.autograd.grad(value, list(wanted.values()), retain_graph=True, allow_unused=True)
        for of, gradient in zip(wanted, found):
            if gradient is not None:
                tensors[f"{name}.{of}"] = gradient.numpy().astype(np.float32)
    print({name: value for name, value in metadata.items()})
    return tensors, metadata


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/fixtures/losses"))
    out = parser.parse_args().out
    os.makedirs(out, exist_ok=True)
    provenance = json.dumps({"script": "make_loss_fixtures.py", "torch": torch.__version__, "numpy": np.__version__})
    for name, make in (("parity", parity), ("random", random_case), ("stages", stages_case)):
        tensors, metadata = make()
        path = os.path.join(out, name + ".safetensors")
        store.save(path, tensors, {**metadata, "provenance": provenance})
        print(name, os.path.getsize(path), "bytes")


main()
