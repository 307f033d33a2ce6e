"""Times single layers in PyTorch (oneDNN, MKL) and NumPy (OpenBLAS) on this CPU, as peers of `panum bench`.

usage: python torch_layers.py [--only gemm conv attention sinkhorn pointwise] [--item NAME] [--dtype f32|bf16]
                              [--threads N] [--environment default|tuned] [--isa native|avx2] [--rounds 7]
                              [--reference FOLDER] [--interactive]

Prints one JSON line per item and library: smallest and median seconds of a call, GFLOP/s (convolutions counted
directly), and its share of --peak (GFLOP/s, if given). Shapes are those of performance.md, sections 2.1 to 2.3. A
round repeats a call until it lasts 50 ms. --reference (a checkout of the public S2M2 code) is needed for Sinkhorn.
With --interactive it prints {"ready": true} and times one round of the item named on every line of standard input
("NAME LIBRARY"), so that a script can alternate it with others.
"""
import argparse
import os
import sys

import timing

GEMM = [(1024, 1024, 1024), (2048, 2048, 2048), (22080, 128, 128), (22080, 384, 256), (5520, 256, 256),
        (1380, 256, 256), (345, 256, 256), (22080, 64, 1152), (1370, 1536, 384)]
CONV = [  # name, C_in, C_out, rows, columns, kernel, stride, padding
    ("3x3_64_120x184", 64, 64, 120, 184, (3, 3), 1, (1, 1)),
    ("3x3_128_120x184", 128, 128, 120, 184, (3, 3), 1, (1, 1)),
    ("3x3_256_120x184", 256, 256, 120, 184, (3, 3), 1, (1, 1)),
    ("3x3_256_60x92", 256, 256, 60, 92, (3, 3), 1, (1, 1)),
    ("3x3_128_240x368", 128, 128, 240, 368, (3, 3), 1, (1, 1)),
    ("3x3s2_128_240x368", 128, 128, 240, 368, (3, 3), 2, (1, 1)),
    ("1x1_128_120x184", 128, 128, 120, 184, (1, 1), 1, (0, 0)),
    ("5x5s2_16_64_480x736", 16, 64, 480, 736, (5, 5), 2, (2, 2)),
    ("3x1_256_128_120x184", 256, 128, 120, 184, (3, 1), 1, (1, 0)),
    ("1x3_256_128_120x184", 256, 128, 120, 184, (1, 3), 1, (0, 1)),
]
ATTENTION = [  # name, batch, tokens, heads, head width
    ("5520_tokens_4_heads_d32", 1, 5520, 4, 32),
    ("240_rows_184_tokens_d128", 240, 184, 1, 128),
    ("2x345_tokens_8_heads_d32", 2, 345, 8, 32),
]


def gemm_items(torch, dtype):
    import numpy as np
    for m, n, k in GEMM:
        a, b = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
        name, flop = f"gemm_{m}x{n}x{k}", 2.0 * m * n * k
        out = torch.empty(m, n, dtype=dtype)
        transposed = b.t()
        yield name, "torch mm", flop, lambda a=a, b=transposed, out=out: torch.mm(a, b, out=out)
        packed = torch.ops.mkldnn._reorder_linear_weight(b, m)
        yield name, "onednn linear", flop, lambda a=a, p=packed: torch.ops.mkldnn._linear_pointwise(
            a, p, None, "none", [], "")
        if dtype == torch.float32:
            x, y, z = a.numpy(), np.ascontiguousarray(b.numpy().T), np.empty((m, n), np.float32)
            yield name, "numpy openblas", flop, lambda x=x, y=y, z=z: np.matmul(x, y, out=z)


def conv_items(torch, dtype):
    for name, ci, co, h, w, kernel, stride, padding in CONV:
        x, weight = torch.randn(1, ci, h, w, dtype=dtype), torch.randn(co, ci, *kernel, dtype=dtype)
        bias = torch.randn(co, dtype=dtype)
        flop = 2.0 * ci * co * kernel[0] * kernel[1] * (h // stride) * (w // stride)
        for layout, memory in (("nchw", torch.contiguous_format), ("channels_last", torch.channels_last)):
            xl, wl = x.contiguous(memory_format=memory), weight.contiguous(memory_format=memory)
            yield f"conv_{name}", f"torch {layout}", flop, lambda x=xl, w=wl, b=bias, s=stride, p=padding: (
                torch.nn.functional.conv2d(x, w, b, s, p))
        # What a compiled, frozen network calls: weights already in oneDNN's own blocked layout.
        xl = x.contiguous(memory_format=torch.channels_last)
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, list(padding), [stride, stride], [1, 1], 1,
                                                              list(x.shape))
        yield f"conv_{name}", "onednn packed", flop, lambda x=xl, w=packed, b=bias, s=stride, p=padding: (
            torch.ops.mkldnn._convolution_pointwise(x, w, b, list(p), [s, s], [1, 1], 1, "none", [], ""))


def attention_items(torch, dtype):
    for name, batch, tokens, heads, width in ATTENTION:
        q, k, v = (torch.randn(batch, heads, tokens, width, dtype=dtype) for _ in range(3))
        flop = 4.0 * batch * heads * tokens * tokens * width
        yield f"attention_{name}", "torch sdpa", flop, lambda q=q, k=k, v=v: (
            torch.nn.functional.scaled_dot_product_attention(q, k, v))
        yield f"attention_{name}", "torch bmm softmax", flop, lambda q=q, k=k, v=v, s=width**-0.5: torch.matmul(
            torch.softmax(torch.matmul(q * s, k.transpose(2, 3)), dim=-1), v)


def sinkhorn_items(torch, dtype, reference):
    if not reference or dtype != torch.float32:
        return
    from make_op_fixtures import load_reference
    submodules = load_reference(reference, "reference")["submodules"]
    rows, width = 120, 184
    module = submodules.DispInit(8, 3, False)
    scores = 4.0 * torch.randn(1, rows, width, width)
    features = torch.randn(2, 8, rows, width)
    yield "sinkhorn_120x184", "torch reference", 0.0, lambda: module._optimal_transport(scores)
    compiled = torch.compile(module._optimal_transport)
    yield "sinkhorn_120x184", "torch compile", 0.0, lambda: compiled(scores)
    # The whole of the first disparity: a correlation over 8 channels only, the plan, argmax, confidence, occlusion.
    yield "sinkhorn_argmax_120x184", "torch reference", 0.0, lambda: module(features)
    whole = torch.compile(module)
    yield "sinkhorn_argmax_120x184", "torch compile", 0.0, lambda: whole(features)


def pointwise_items(torch, dtype):
    f = torch.nn.functional
    x, y = torch.randn(1, 128, 120, 184, dtype=dtype), torch.randn(1, 128, 120, 184, dtype=dtype)
    for layout, memory in (("nchw", torch.contiguous_format), ("channels_last", torch.channels_last)):
        a, b = x.contiguous(memory_format=memory), y.contiguous(memory_format=memory)
        yield "gelu_128x120x184", f"torch {layout}", 0.0, lambda a=a: f.gelu(a)
        yield "add_128x120x184", f"torch {layout}", 0.0, lambda a=a, b=b: a + b
        yield "bilinear2_128x120x184", f"torch {layout}", 0.0, lambda a=a: f.interpolate(
            a, scale_factor=2, mode="bilinear", align_corners=False)
        yield "group_norm_128x120x184", f"torch {layout}", 0.0, lambda a=a: f.group_norm(a, 8)
    t = torch.randn(22080, 128, dtype=dtype)
    yield "layer_norm_22080x128", "torch", 0.0, lambda: f.layer_norm(t, (128,))


def main():
    families = ["gemm", "conv", "attention", "sinkhorn", "pointwise"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    timing.add_options(parser)
    parser.add_argument("--only", nargs="*", choices=families, default=families)
    parser.add_argument("--item", help="only items whose name contains this")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--reference")
    parser.add_argument("--peak", type=float, help="GFLOP/s of the threads used")
    parser.add_argument("--interactive", action="store_true")
    arguments = parser.parse_args()
    timing.settle(arguments)

    import torch
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/ref"))
    torch.set_num_threads(arguments.threads)
    torch.set_num_interop_threads(1)
    torch.set_grad_enabled(False)
    torch.manual_seed(1)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[arguments.dtype]
    makers = {"gemm": gemm_items, "conv": conv_items, "attention": attention_items, "pointwise": pointwise_items,
              "sinkhorn": lambda t, d: sinkhorn_items(t, d, arguments.reference)}
    items = (item for family in arguments.only for item in makers[family](torch, dtype)
             if not arguments.item or arguments.item in item[0])
    facts = {"peer": f"torch {torch.__version__}", "threads": arguments.threads, "environment": arguments.environment,
             "isa": arguments.isa, "dtype": arguments.dtype}
    timing.report(**facts, machine=timing.machine())

    def rates(item, best):
        gflops = item[2] / best * 1e-9
        if not item[2]:
            return {}
        return {"gflops": gflops, **({"of_peak": gflops / arguments.peak} if arguments.peak else {})}

    if arguments.interactive:
        ready = {f"{item[0]} {item[1]}": (item, timing.repetitions(item[3])) for item in items}
        timing.report(ready=True, items=list(ready))
        for line in sys.stdin:
            item, calls = ready[line.strip()]
            s = timing.seconds(lambda: [item[3]() for _ in range(calls)]) / calls
            timing.report(item=item[0], library=item[1], s=s, **rates(item, s))
        return
    for item in items:
        calls = timing.repetitions(item[3])
        times = timing.rounds(lambda: [item[3]() for _ in range(calls)], arguments.rounds, arguments.warmup)
        result = timing.summary(times, calls)
        timing.report(item=item[0], library=item[1], calls=calls, **result, **rates(item, result["min_s"]))


if __name__ == "__main__":
    main()
