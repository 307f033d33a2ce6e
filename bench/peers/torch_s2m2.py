"""Times the public S2M2 code in PyTorch on this CPU, float32, as a peer of `panum bench`.

usage: python torch_s2m2.py --reference FOLDER [--size S] [--height 480] [--width 736] [--threads N]
                            [--mode eager|compile|freeze] [--layout nchw|channels_last]
                            [--environment default|tuned] [--isa native|avx2] [--rounds 7] [--interactive]

Prints one JSON line: smallest and median seconds of a forward pass with random pictures and seeded weights, the first
forward (compilation included), and memory in kB: `start` after the import, `weights` with the model loaded, `peak` the
high-water mark of the whole process, `peak_forward` that of the forward passes alone. `freeze` is torch.compile with
weights made constants, which lets it pack them for oneDNN and MKL. With --interactive it warms up, prints {"ready": true},
and then answers every line on standard input with one round, so that a script can alternate it with others.
"""
import argparse
import os
import sys

import timing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    timing.add_options(parser)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--size", choices=["S", "M", "L", "XL"], default="S")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=736)
    parser.add_argument("--mode", choices=["eager", "compile", "freeze"], default="eager")
    parser.add_argument("--layout", choices=["nchw", "channels_last"], default="nchw")
    parser.add_argument("--refine-iter", type=int, default=3)
    parser.add_argument("--positive", action="store_true")
    parser.add_argument("--interactive", action="store_true")
    arguments = parser.parse_args()
    timing.settle(arguments)

    import torch
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/ref"))
    from make_op_fixtures import load_reference
    from seeded import parameter, uniform

    torch.set_num_threads(arguments.threads)
    torch.set_num_interop_threads(1)
    start_kb = timing.memory_kb("VmRSS")
    channels, transformers = {"S": (128, 1), "M": (192, 2), "L": (256, 3), "XL": (384, 3)}[arguments.size]
    with torch.device("meta"):
        model = load_reference(arguments.reference, "reference")["s2m2"].S2M2(
            channels, 1, transformers, use_positivity=arguments.positive, refine_iter=arguments.refine_iter)
    model.load_state_dict({name: torch.from_numpy(parameter(name, tuple(value.shape)))
                           for name, value in model.state_dict().items()}, assign=True)
    model.eval()
    pictures = [torch.from_numpy(127.5 + 127.5 * uniform(f"bench/{side}", 3 * arguments.height * arguments.width))
                .float().reshape(1, 3, arguments.height, arguments.width) for side in ("left", "right")]
    if arguments.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        pictures = [p.contiguous(memory_format=torch.channels_last) for p in pictures]
    weights_kb = timing.memory_kb("VmRSS")
    if arguments.mode != "eager":
        import torch._inductor.config
        torch._inductor.config.freezing = arguments.mode == "freeze"
        model = torch.compile(model)

    def forward():
        with torch.no_grad():
            return model(*pictures)

    chosen = os.sched_getaffinity(0)
    if arguments.mode != "eager":
        timing.pin(range(os.cpu_count()))  # the C++ compiler may use every core
    timing.forget_peak()
    first = timing.seconds(forward)
    timing.pin(chosen)
    facts = {"peer": f"torch {torch.__version__}", "model": f"S2M2-{arguments.size}",
             "height": arguments.height, "width": arguments.width, "refine_iter": arguments.refine_iter,
             "mode": arguments.mode, "layout": arguments.layout, "threads": arguments.threads,
             "environment": arguments.environment, "isa": arguments.isa}
    if arguments.interactive:
        timing.rounds(forward, 0, arguments.warmup)
        timing.report(ready=True, **facts)
        for _ in sys.stdin:
            timing.report(s=timing.seconds(forward))
    stolen = timing.steal()
    times = [] if arguments.interactive else timing.rounds(forward, arguments.rounds, arguments.warmup)
    timing.report(**facts, first_s=first, **(timing.summary(times) if times else {}), steal_s=timing.steal() - stolen,
                  memory_kb={"start": start_kb, "weights": weights_kb, "peak_forward": timing.memory_kb("VmHWM")},
                  machine=timing.machine())


if __name__ == "__main__":
    main()
