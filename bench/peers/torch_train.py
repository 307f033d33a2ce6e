"""Times a training step of the public S2M2 code in PyTorch on this CPU, float32: the peer of `train-s2m2-S 320x256` of
`panum bench --interactive`.

usage: python torch_train.py --reference FOLDER [--size S] [--height 256] [--width 320] [--threads N]
                             [--mode eager|compile] [--layout nchw|channels_last] [--optimiser fused|foreach]
                             [--environment default|tuned] [--rounds 7] [--interactive]

A step is zero_grad, forward in train mode, loss, backward, and AdamW over all parameters, on one pair. Weights follow
from the parameters' names and the pictures from a formula, both the same as panum's, and so is the loss: the absolute
difference to a disparity of 1 pixel, a weighted mean over all stages, as losses/disparity.c defines it. `first_loss`, of
the weights before any step, is therefore panum's up to rounding, and a script should look that it is.

The reference's forward gives the last maps only; hooks on its modules take the stages before them. Nothing in it stops
gradients but the two detach() that panum has too (the first estimate and its confidence on their way into the global
refiner) and a no_grad round the position encoding, which has no parameters. Its in-place additions are to fresh sums
that autograd does not keep, and its arg-max has no gradient on either side. Occlusion and confidence of full size,
which this loss does not read, are computed by the reference in any case.

Prints one JSON line: smallest and median seconds, and memory in kB: `start` after the import, `peak` the high-water mark
from then on (weights, moments, gradients and activations in it). With --interactive it warms up, prints {"ready": true}
and the facts, and then answers every line on standard input with one step.
"""
import argparse
import os
import sys

import timing

SIZES = {"XS": (32, 1), "S": (128, 1), "M": (192, 2), "L": (256, 3), "XL": (384, 3)}
RATE, DECAY = 1e-4, 0.01                  # apps/bench_train.c
INITIAL_SHARE, REFINEMENT_DECAY, REACH = 0.5, 0.8, 2  # losses/stages.h, losses/disparity.c
TRUTH = 1.0


def noise_pictures(numpy, height, width):
    """Two pictures, uint8 (2, 3, H, W): the upper 8 bits of SplitMix64 from seed 1, as apps/bench_train.c has them, in
    the order picture, row, column, colour."""
    with numpy.errstate(over="ignore"):
        z = numpy.arange(1, 6 * height * width + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15) + numpy.uint64(1)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    return (z >> numpy.uint64(56)).astype(numpy.uint8).reshape(2, height, width, 3).transpose(0, 3, 1, 2)


def stage_loss(torch, initial, filled, refined, full):
    """Coarse maps are compared with every pixel under them; the first one only where the truth is within its reach."""
    def error(coarse):
        return (torch.nn.functional.interpolate(4 * coarse, scale_factor=4, mode="nearest") - TRUTH).abs()
    first = error(initial)
    near = (first.detach() <= 4 * REACH).to(first.dtype)
    shares = [INITIAL_SHARE, INITIAL_SHARE, *(REFINEMENT_DECAY ** (len(refined) - 1 - i) for i in range(len(refined))), 1.0]
    losses = [(first * near).sum() / near.sum().clamp(min=1), error(filled).mean(), *(error(d).mean() for d in refined),
              (full - TRUTH).abs().mean()]
    return sum(share * loss for share, loss in zip(shares, losses)) / sum(shares)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    timing.add_options(parser)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--size", choices=list(SIZES), default="S")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--layout", choices=["nchw", "channels_last"], default="nchw")
    parser.add_argument("--optimiser", choices=["fused", "foreach"], default="fused")
    parser.add_argument("--refine-iter", type=int, default=3)
    parser.add_argument("--interactive", action="store_true")
    arguments = parser.parse_args()
    timing.settle(arguments)

    import numpy
    import torch
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/ref"))
    from make_op_fixtures import load_reference
    from seeded import parameter

    torch.set_num_threads(arguments.threads)
    torch.set_num_interop_threads(1)
    with torch.device("meta"):
        channels, transformers = SIZES[arguments.size]
        model = load_reference(arguments.reference, "reference")["s2m2"].S2M2(
            channels, 1, transformers, refine_iter=arguments.refine_iter)
    timing.forget_peak()
    start_kb = timing.memory_kb("VmRSS")
    model.load_state_dict({name: torch.from_numpy(parameter(name, tuple(value.shape)))
                           for name, value in model.state_dict().items()}, assign=True)
    model.train().requires_grad_(True)
    pictures = list(torch.from_numpy(noise_pictures(numpy, arguments.height, arguments.width)).float().contiguous()
                    .split(1))
    if arguments.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        pictures = [p.contiguous(memory_format=torch.channels_last) for p in pictures]
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, **{arguments.optimiser: True})

    stages = {"initial": [], "filled": [], "refined": []}
    model.disp_init.register_forward_hook(lambda m, i, o: stages["initial"].append(o[0]))
    model.global_refiner.register_forward_hook(lambda m, i, o: stages["filled"].append(o))
    model.refiner.register_forward_hook(lambda m, i, o: stages["refined"].append(o[1]))

    def loss_of(left, right):
        for maps in stages.values():
            maps.clear()
        full = model(left, right)[0]
        loss = stage_loss(torch, stages["initial"][0], stages["filled"][0], stages["refined"], full)
        for maps in stages.values():
            maps.clear()  # or they would keep the graph until the next step
        return loss

    compute = torch.compile(loss_of) if arguments.mode == "compile" else loss_of
    losses = []

    def step():
        optimiser.zero_grad(set_to_none=True)
        loss = compute(*pictures)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    chosen = os.sched_getaffinity(0)
    if arguments.mode == "compile":
        timing.pin(range(os.cpu_count()))  # the C++ compiler may use every core
    first = timing.seconds(step)
    timing.pin(chosen)
    facts = {"peer": f"torch {torch.__version__}", "model": f"S2M2-{arguments.size}", "height": arguments.height,
             "width": arguments.width, "refine_iter": arguments.refine_iter, "mode": arguments.mode,
             "layout": arguments.layout, "optimiser": f"AdamW {arguments.optimiser}", "threads": arguments.threads,
             "environment": arguments.environment, "isa": arguments.isa, "first_loss": losses[0], "start_kb": start_kb,
             "without_gradient": [name for name, p in model.named_parameters() if p.grad is None]}
    if arguments.interactive:
        timing.rounds(step, 0, arguments.warmup)
        timing.report(ready=True, **facts)
        for _ in sys.stdin:
            timing.report(s=timing.seconds(step), loss=losses[-1])
    stolen = timing.steal()
    times = [] if arguments.interactive else timing.rounds(step, arguments.rounds, arguments.warmup)
    timing.report(**facts, first_s=first, **(timing.summary(times) if times else {}), loss=losses[-1],
                  steal_s=timing.steal() - stolen, memory_kb={"start": start_kb, "peak": timing.memory_kb("VmHWM")},
                  machine=timing.machine())


if __name__ == "__main__":
    main()
