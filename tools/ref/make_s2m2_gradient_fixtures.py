"""Writes tests/fixtures/s2m2/gradient_*.safetensors: gradients that PyTorch computes through the public S2M2 code, and
the losses of ten training steps.

usage: python make_s2m2_gradient_fixtures.py REFERENCE --data SHARED_DATA [--only NAME ...] [--out FOLDER]

Weights follow from the parameters' names (seeded.py), pictures are crops of the data folder under its signed rule, as
in make_s2m2_fixtures.py. The loss is a sum over maps of mean(U * map), U uniform in [-1, 1) and following from
"loss/<map>": the three results at full size and the first estimate's disparity, confidence and occlusion, so that the
transport is differentiated too (behind it the reference detaches disparity and confidence).

A file of gradients holds, for parameters p = 0, 1, ... in the order of "names" (JSON, in the metadata)
  left, right  uint8, rows x columns x RGB
  norm         float64 [p]     the length of d(loss)/dp
  projection   float64 [p]     sum of d(loss)/dp times U of "probe/<name>"
  floor        float64 [p]     length of the reference's own float32 gradient minus its float64 one, over norm
  spread       float64 [p]     of the whole network: the largest length, over norm, by which DISTURBED further float64
                               gradients differ whose weights were off by SHORTCUTS of themselves
  element      float64 or float32 [p, n]  elements of d(loss)/dp at floor(count * (1 + U)/2), U of "element/<name>"
and as metadata "case", "loss" and "provenance".

A file of steps holds the losses of an optimiser's steps in float64 and in float32, "loss" and "loss32": the loss of the
weights before each step and after the last. "spread" is how far from "loss", over it, the float64 losses of DISTURBED
further runs lay at most, whose first weights were off by DISTURBANCE of themselves.
"""
import argparse
import json
import os

import numpy as np
import torch

import store
from make_op_fixtures import load_image_tools, load_reference
from make_s2m2_fixtures import CALM, CLOTH, SIZES, Reference, crop_pair, picture
from seeded import uniform

SIZES["XS"] = (32, 1)
SMALL = picture(CLOTH, 196, 100, 96, 64)
LITTLE = picture(CLOTH, 196, 100, 64, 64)
# Chosen among 20 crops for the calmest gradients: with all weights off by up to 1e-5 of themselves, those of the middle
# parameter move by 3e-4. (At 196, 100 it is 8e-3: what is round to another compiler's vectors decides too much.)
CALMEST = picture(CLOTH, 109, 13, 96, 64)
MAPS = ("disparity", "occlusion", "confidence", "d0", "conf0", "occ0")


def case(size, where, elements, parameters=("",)):
    """parameters: beginnings of the names of those whose gradients are kept."""
    return {"size": size, "picture": where, "behaviour": "r3", "positivity": False, "refine_iter": 3,
            "cinematic": False, "output_upsample": False, "scaled": CALM, "elements": elements,
            "parameters": list(parameters)}


def block(number):
    return (f"transformer.uformer_list.{number}.", "disp_init.", "upsample_mask_")


# XS whole, to the last digit of float64; of each other size its last transformer block and what follows it at once.
CASES = {
    "gradient_xs": case("XS", CALMEST, 24),
    "gradient_s": case("S", LITTLE, 12, block(0)),
    "gradient_m": case("M", LITTLE, 12, block(1)),
    "gradient_l": case("L", LITTLE, 12, block(2)),
    "gradient_xl": case("XL", LITTLE, 12, block(2)),
}


DISTURBED, DISTURBANCE = 6, 1e-6  # further runs whose weights are off by so much of themselves, some ten roundings of f32
SHORTCUTS = 1e-5  # about what F(4x4) of Winograd loses of a value


def outputs_of(model, left, right, dtype):
    taps = {}
    hook = model.disp_init.register_forward_hook(lambda m, i, o: taps.update(zip(("d0", "conf0", "occ0"), o[:3])))
    taps.update(zip(("disparity", "occlusion", "confidence"), model(left.to(dtype), right.to(dtype))))
    hook.remove()
    return taps


def probe_loss(taps):
    loss = 0
    for name in MAPS:
        u = torch.from_numpy(uniform(f"loss/{name}", taps[name].numel())).to(taps[name].dtype)
        loss = loss + (u.reshape(taps[name].shape) * taps[name]).mean()
    return loss


def disturb(model, seed, amount):
    lot = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data = p.data.clone()  # the seeded numbers are shared
        if seed:
            p.data *= 1 + amount * (2 * torch.rand(p.shape, generator=lot, dtype=p.dtype) - 1)


def gradients(reference, setup, pictures, dtype, seed=0):
    model = reference.build(setup, dtype)
    disturb(model, seed, SHORTCUTS)
    wanted = [(name, p) for name, p in model.named_parameters()
              if any(name.startswith(start) for start in setup["parameters"])]
    for p in model.parameters():
        p.requires_grad_(False)
    for _, p in wanted:
        p.requires_grad_(True)
    loss = probe_loss(outputs_of(model, *pictures, dtype))
    loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in wanted if p.grad is not None}


def padded_pair(image_tools, data, where):
    pair = crop_pair(data, where)
    torch.set_default_dtype(torch.float32)
    return pair, [image_tools.image_pad(torch.from_numpy(p).permute(2, 0, 1)[None].float(), 32) for p in pair]


def write_gradients(name, setup, reference, image_tools, data, out, provenance):
    pair, pictures = padded_pair(image_tools, data, setup["picture"])
    loss, exact = gradients(reference, setup, pictures, torch.float64)
    _, single = gradients(reference, setup, pictures, torch.float32)
    names = list(exact)
    norm, projection, floor, element = [], [], [], []
    for parameter in names:
        g = exact[parameter].reshape(-1)
        norm.append(float(g.norm()))
        projection.append(float(g.numpy() @ uniform(f"probe/{parameter}", g.numel())))
        floor.append(float((single[parameter].reshape(-1).double() - g).norm()) / max(norm[-1], 1e-300))
        index = ((0.5 + 0.5 * uniform(f"element/{parameter}", setup["elements"])) * g.numel()).astype(np.int64)
        element.append(g.numpy()[index])
    whole = setup["size"] == "XS"
    spread = {}
    if whole:
        others = [gradients(reference, setup, pictures, torch.float64, 1 + k)[1] for k in range(DISTURBED)]
        spread["spread"] = np.array([max(float((o[p] - exact[p]).norm()) for o in others) / max(norm[k], 1e-300)
                                     for k, p in enumerate(names)])
        print("disturbed, off by", f"{np.median(spread['spread']):.1e} at most {spread['spread'].max():.1e}")
    kind = np.float64 if whole else np.float32
    path = os.path.join(out, name + ".safetensors")
    store.save(path, {"left": pair[0], "right": pair[1], "norm": np.array(norm), "projection": np.array(projection),
                      "floor": np.array(floor), "element": np.array(element).astype(kind), **spread},
               {"case": json.dumps({k: v for k, v in setup.items() if k != "parameters"}), "names": json.dumps(names),
                "loss": json.dumps(loss), "provenance": json.dumps(provenance)})
    floor = np.array(floor)
    print(f"{name:12s} {len(names)} parameters, loss {loss:.6f}, floor median {np.median(floor):.1e} largest "
          f"{floor.max():.1e} ({names[int(floor.argmax())]})  {os.path.getsize(path) // 1024} kB", flush=True)


# Ten steps on one pair: the results are pulled to smooth maps made by formula.
def smooth_targets(height, width):
    y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    return {"disparity": 6 * np.sin(3 * x + 2 * y) - 2, "occlusion": 0.9 - 0.5 * x * y, "confidence": 0.6 + 0.3 * (x - y)}


STEP_WEIGHTS = {"disparity": 0.1, "occlusion": 1.0, "confidence": 1.0}
METHODS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=3e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2),
    "sgd": lambda p: torch.optim.SGD(p, lr=3e-8, momentum=0.9),
}
STEPS = 10


def train(reference, setup, pictures, method, dtype, seed=0):
    model = reference.build(setup, dtype)
    disturb(model, seed, DISTURBANCE)
    for p in model.parameters():
        p.requires_grad_(True)
    optimiser = METHODS[method](list(model.parameters()))
    losses = []
    for step in range(STEPS + 1):
        taps = outputs_of(model, *pictures, dtype)
        targets = smooth_targets(*taps["disparity"].shape[-2:])
        loss = sum(STEP_WEIGHTS[k] * ((taps[k][0, 0] - torch.from_numpy(t).to(dtype)) ** 2).mean()
                   for k, t in targets.items())
        losses.append(float(loss.detach()))
        if step < STEPS:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return losses


def write_steps(name, setup, method, reference, image_tools, data, out, provenance):
    pair, pictures = padded_pair(image_tools, data, setup["picture"])
    exact, single = (train(reference, setup, pictures, method, t) for t in (torch.float64, torch.float32))
    disturbed = np.array([train(reference, setup, pictures, method, torch.float64, 1 + k) for k in range(DISTURBED)])
    spread = np.abs(disturbed / np.array(exact) - 1).max(axis=0)
    print(name, "disturbed, off by", " ".join(f"{v:.0e}" for v in spread), flush=True)
    store.save(os.path.join(out, name + ".safetensors"),
               {"left": pair[0], "right": pair[1], "loss": np.array(exact), "loss32": np.array(single),
                "spread": spread},
               {"case": json.dumps({k: v for k, v in setup.items() if k != "parameters"}), "method": method,
                "provenance": json.dumps(provenance)})
    print(name, " ".join(f"{v:.5f}" for v in exact), " float32 off by",
          f"{max(abs(a - b) / b for a, b in zip(single, exact)):.1e}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("--data", required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/fixtures/s2m2"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums of one order
    reference = Reference({"r3": load_reference(arguments.reference, "s2m2_r3")})
    image_tools = load_image_tools(arguments.reference)
    provenance = {"torch": torch.__version__, "made by": "tools/ref/make_s2m2_gradient_fixtures.py",
                  "reference": "junhong-3dv/s2m2", "commit": "8f3bd785df593619d955203c6f2c741bef6e31df"}
    for name, setup in CASES.items():
        if not arguments.only or name in arguments.only:
            write_gradients(name, setup, reference, image_tools, arguments.data, arguments.out, provenance)
    for method in METHODS:
        name = f"steps_{method}"
        if not arguments.only or name in arguments.only:
            write_steps(name, case("XS", SMALL, 0), method, reference, image_tools, arguments.data, arguments.out,
                        provenance)


if __name__ == "__main__":
    main()
