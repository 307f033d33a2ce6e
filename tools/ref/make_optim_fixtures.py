"""Writes tests/fixtures/nn/optim.safetensors: ten steps of PyTorch's optimisers on seeded parameters and gradients.

usage: python make_optim_fixtures.py [--out FOLDER]

Two parameters, "a" (3x5x2) and "b" (7); gradients of step n are seeded by "optim/<case>/<parameter>/<n>". Optimisers
run in float64; what is kept is rounded to float32 once. The metadata key of a case holds its options, "rates" the rate of
every step of each schedule.
"""
import argparse
import json
import os

import numpy as np
import torch

import store
from seeded import uniform

STEPS = 10
SHAPES = {"a": (3, 5, 2), "b": (7,)}


def draw(name, shape, scale):
    return torch.from_numpy(scale * uniform(name, int(np.prod(shape))).reshape(shape).astype(np.float32).astype(np.float64))


def run(case, make, clip, rates, tensors):
    parameters = {n: torch.nn.Parameter(draw(f"optim/{n}", s, 1.0)) for n, s in SHAPES.items()}
    optimiser = make(parameters)
    factors = [group["lr"] for group in optimiser.param_groups]
    norms = []
    for step in range(STEPS):
        for n, p in parameters.items():
            p.grad = draw(f"optim/{case}/{n}/{step}", SHAPES[n], 2.0)
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), clip if clip else 1e30)))
        for group, factor in zip(optimiser.param_groups, factors):
            group["lr"] = factor * rates[step]
        optimiser.step()
        for n, p in parameters.items():
            tensors[f"{case}.{n}.{step}"] = p.detach().numpy().astype(np.float32)
    tensors[f"{case}.norms"] = np.array(norms, np.float32)


def schedule(make, steps, top):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=top)
    scheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--out", default=os.path.join(here, "..", "..", "tests", "fixtures", "nn"))
    folder = parser.parse_args().out
    os.makedirs(folder, exist_ok=True)
    torch.set_default_dtype(torch.float64)
    tensors, metadata = {}, {}
    rates = [0.02 * (1 - n / 20) for n in range(STEPS)]

    run("adamw", lambda p: torch.optim.AdamW(p.values(), lr=1.0, weight_decay=0.05, foreach=False), 0, rates, tensors)
    run("adamw_groups", lambda p: torch.optim.AdamW(
        [{"params": [p["a"]], "lr": 0.1, "weight_decay": 0.2}, {"params": [p["b"]], "lr": 1.0, "weight_decay": 0.0}],
        betas=(0.8, 0.95), eps=1e-6, foreach=False), 5.0, rates, tensors)
    run("sgd", lambda p: torch.optim.SGD(p.values(), lr=1.0, foreach=False), 0, rates, tensors)
    run("sgd_momentum", lambda p: torch.optim.SGD(p.values(), lr=1.0, momentum=0.9, weight_decay=0.01, foreach=False),
        3.0, rates, tensors)
    tensors["rates"] = np.array(rates, np.float64)
    tensors["one_cycle"] = np.array(schedule(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.4, total_steps=40, cycle_momentum=False), 40, 0.4),
        np.float64)
    tensors["cosine"] = np.array(schedule(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=30, eta_min=0.04), 30, 0.4), np.float64)
    metadata["provenance"] = json.dumps({"torch": torch.__version__, "steps": STEPS})
    store.save(os.path.join(folder, "optim.safetensors"), tensors, metadata)
    print(len(tensors), "tensors", os.path.getsize(os.path.join(folder, "optim.safetensors")), "bytes")


if __name__ == "__main__":
    main()
