"""Writes tests/fixtures/ops/*.safetensors: small inputs, weights and results of every operator S2M2 needs.

usage: python make_op_fixtures.py REFERENCE [--r1 FOLDER] [--r2 FOLDER] [--out FOLDER]

REFERENCE is a checkout of the public S2M2 code (junhong-3dv/s2m2); --r1 and --r2 are older checkouts whose lookup
and upsampling differ (README.md beside this file names the commits). Plain operators are PyTorch's own; the
compound ones (relative-position attention, optimal transport, lookup, upsampling, padding) are run through the
reference's own functions. Inputs are float32 values made by seeded.py from "ops/<file>/<tensor>"; every result is
computed in float64 and rounded to float32 once. One file per family; a case's tensors are "<case>.<role>", its
parameters the JSON text stored under the metadata key "<case>". Images and maps are N, C, H, W.
"""
import argparse
import importlib.util
import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

import store
from seeded import uniform


class Family:
    """The cases of one file."""

    def __init__(self, name):
        self.name = name
        self.tensors = {}
        self.metadata = {}

    def draw(self, tensor, shape, scale=1.0, offset=0.0):
        """A seeded float32 array, kept in the file, given back in float64."""
        values = uniform(f"ops/{self.name}/{tensor}", int(np.prod(shape)))
        return self.keep(tensor, offset + scale * values.reshape(shape))

    def keep(self, tensor, values):
        """Stores values as float32 and gives back exactly what was stored, in float64."""
        stored = np.ascontiguousarray(np.asarray(values, np.float64).astype(np.float32))
        self.tensors[tensor] = stored
        return torch.from_numpy(stored.astype(np.float64))

    def result(self, tensor, value):
        value = value.detach().numpy()
        kind = np.int32 if value.dtype.kind == "i" else np.float32
        self.tensors[tensor] = np.ascontiguousarray(value.astype(kind))

    def describe(self, case, **parameters):
        self.metadata[case] = json.dumps(parameters)

    def write(self, folder, provenance):
        path = os.path.join(folder, self.name + ".safetensors")
        store.save(path, self.tensors, {**self.metadata, "provenance": json.dumps(provenance)})
        print(f"{self.name:28s} {len(self.metadata):3d} cases {os.path.getsize(path):8d} bytes")


def load_reference(folder, alias):
    """The reference's model package under a private name, so that several versions live side by side."""
    root = os.path.join(folder, "src", "s2m2", "core", "model")
    spec = importlib.util.spec_from_file_location(
        alias, os.path.join(root, "__init__.py"), submodule_search_locations=[root])
    package = importlib.util.module_from_spec(spec)
    sys.modules[alias] = package
    spec.loader.exec_module(package)
    return {name: importlib.import_module(f"{alias}.{name}")
            for name in ("s2m2", "submodules", "attentions", "utils")}


def load_image_tools(folder):
    path = os.path.join(folder, "src", "s2m2", "core", "utils", "image_utils.py")
    spec = importlib.util.spec_from_file_location("reference_image_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convolutions():
    f = Family("conv2d")
    cases = {  # name: (N, C_in, H, W, C_out, kernel, stride, padding, bias)
        "k1": (1, 5, 7, 9, 6, (1, 1), 1, (0, 0), True),
        "k1_nobias": (2, 3, 4, 5, 2, (1, 1), 1, (0, 0), False),
        "k1_wide": (1, 33, 6, 11, 35, (1, 1), 1, (0, 0), True),
        "k3": (2, 5, 9, 11, 7, (3, 3), 1, (1, 1), True),
        "k3_nobias": (1, 17, 8, 8, 2, (3, 3), 1, (1, 1), False),
        "k3_one_pixel": (1, 4, 1, 1, 3, (3, 3), 1, (1, 1), True),
        "k3_one_row": (1, 4, 1, 10, 3, (3, 3), 1, (1, 1), True),
        "k3_thin": (1, 1, 13, 10, 19, (3, 3), 1, (1, 1), True),
        "k3_odd_channels": (1, 34, 7, 13, 18, (3, 3), 1, (1, 1), True),
        "k3_tiles": (1, 32, 18, 22, 32, (3, 3), 1, (1, 1), True),
        "k3_no_padding": (1, 3, 6, 8, 4, (3, 3), 1, (0, 0), True),
        "k5s2": (1, 3, 13, 17, 9, (5, 5), 2, (2, 2), True),
        "k5s2_even": (2, 16, 12, 16, 8, (5, 5), 2, (2, 2), True),
        "k3s2": (1, 6, 11, 9, 5, (3, 3), 2, (1, 1), True),
        "k3s2_even": (1, 16, 12, 10, 20, (3, 3), 2, (1, 1), True),
        "k3x1": (1, 10, 7, 9, 5, (3, 1), 1, (1, 0), True),
        "k1x3": (1, 10, 7, 9, 5, (1, 3), 1, (0, 1), True),
        "k3x1_wide": (1, 32, 9, 14, 16, (3, 1), 1, (1, 0), True),
        "k1x3_wide": (1, 32, 9, 14, 16, (1, 3), 1, (0, 1), True),
    }
    for name, (n, ci, h, w, co, k, s, p, bias) in cases.items():
        x = f.draw(f"{name}.input", (n, ci, h, w))
        weight = f.draw(f"{name}.weight", (co, ci, *k), (3.0 / (ci * k[0] * k[1]))**0.5)
        b = f.draw(f"{name}.bias", (co,), 0.5) if bias else None
        f.result(f"{name}.output", F.conv2d(x, weight, b, stride=s, padding=p))
        f.describe(name, kernel=k, stride=[s, s], padding=p, bias=bias)
    g = Family("conv_transpose2d")
    cases = {  # name: (N, C_in, H, W, C_out, kernel, stride, padding)
        "k2s2": (1, 5, 6, 9, 7, 2, 2, 0),
        "k2s2_wide": (2, 32, 5, 7, 18, 2, 2, 0),
        "k3s1p1": (1, 3, 7, 9, 16, 3, 1, 1),
        "k3s1p1_one": (1, 1, 5, 8, 16, 3, 1, 1),
        "k1": (1, 12, 5, 7, 9, 1, 1, 0),
    }
    for name, (n, ci, h, w, co, k, s, p) in cases.items():
        x = g.draw(f"{name}.input", (n, ci, h, w))
        weight = g.draw(f"{name}.weight", (ci, co, k, k), (3.0 / (ci * k * k))**0.5)
        b = g.draw(f"{name}.bias", (co,), 0.5)
        g.result(f"{name}.output", F.conv_transpose2d(x, weight, b, stride=s, padding=p))
        g.describe(name, kernel=[k, k], stride=[s, s], padding=[p, p], bias=True)
    return [f, g]


def dense():
    f = Family("linear")
    for name, shape, out, bias in (("tokens", (2, 7, 19), 23, True), ("nobias", (3, 5, 16), 16, False),
                                   ("one_row", (1, 37), 5, True), ("square", (2, 3, 4, 32), 32, True)):
        x = f.draw(f"{name}.input", shape)
        weight = f.draw(f"{name}.weight", (out, shape[-1]), (3.0 / shape[-1])**0.5)
        b = f.draw(f"{name}.bias", (out,), 0.5) if bias else None
        f.result(f"{name}.output", F.linear(x, weight, b))
        f.describe(name, bias=bias)
    return [f]


def norms():
    f = Family("layer_norm")
    for name, shape, affine, scale, offset in (
            ("plain", (2, 5, 13), False, 2.0, 0.3), ("affine", (3, 4, 32), True, 1.0, 0.0),
            ("wide", (7, 129), False, 1.0, 0.0), ("far_from_zero", (4, 64), False, 0.5, 100.0),
            ("tiny_variance", (4, 24), False, 1e-3, 0.0)):
        x = f.draw(f"{name}.input", shape, scale, offset)
        weight = f.draw(f"{name}.weight", shape[-1:], 0.3, 1.0) if affine else None
        bias = f.draw(f"{name}.bias", shape[-1:], 0.3) if affine else None
        f.result(f"{name}.output", F.layer_norm(x, shape[-1:], weight, bias, 1e-5))
        f.describe(name, axis=-1, eps=1e-5, affine=affine)
    g = Family("group_norm")
    for name, shape, groups, offset in (("eight", (2, 16, 5, 7), 8, 0.0), ("three_each", (1, 24, 3, 11), 8, 1.0),
                                        ("far_from_zero", (1, 32, 6, 5), 8, 50.0), ("one", (1, 6, 4, 4), 1, 0.0)):
        x = g.draw(f"{name}.input", shape, 1.5, offset)
        weight = g.draw(f"{name}.weight", shape[1:2], 0.3, 1.0)
        bias = g.draw(f"{name}.bias", shape[1:2], 0.3)
        g.result(f"{name}.output", F.group_norm(x, groups, weight, bias, 1e-5))
        g.describe(name, groups=groups, eps=1e-5, affine=True)
    return [f, g]


def pointwise():
    f = Family("pointwise")
    special = np.array([0.0, 1e-8, -1e-8, 1e-3, -1e-3, 4.0, -4.0, 5.5, -5.5, 9.0, -9.0, 13.0, -13.0, 20.0, -20.0, 40.0,
                        -40.0, 88.0, -88.0, 100.0, -100.0])
    for name, function in (("gelu", F.gelu), ("relu", F.relu), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh)):
        x = np.concatenate([6.0 * uniform(f"ops/pointwise/{name}", 300), special])
        x = f.keep(f"{name}.input", x)
        f.result(f"{name}.output", function(x))
        f.describe(name, **({"form": "erf"} if name == "gelu" else {}))
    for name, eps in (("logit_global", 0.1), ("logit_local", 0.01)):
        x = f.keep(f"{name}.input",
                   np.concatenate([0.5 + 0.55 * uniform(f"ops/pointwise/{name}", 200), [0.0, 1.0, eps, 0.5, 1.2]]))
        f.result(f"{name}.output", torch.logit(x, eps=eps))
        f.describe(name, eps=eps)
    g = Family("softmax")
    for name, shape, axis, scale in (("last", (3, 4, 37), -1, 4.0), ("channels", (1, 9, 6, 10), 1, 3.0),
                                     ("peaked", (5, 33), -1, 200.0), ("one", (4, 1), -1, 5.0),
                                     ("long", (2, 481), -1, 8.0)):
        x = g.draw(f"{name}.input", shape, scale)
        g.result(f"{name}.output", torch.softmax(x, dim=axis))
        g.describe(name, axis=axis)
    return [f, g]


def attention(reference):
    f = Family("attention")
    cases = {  # name: (batch, queries, keys, heads, head width, scale of q and k)
        "one_head": (3, 24, 24, 1, 16, 1.0),
        "two_heads": (2, 11, 11, 2, 8, 2.0),
        "odd_width": (1, 9, 9, 3, 13, 1.0),
        "eight_heads": (2, 33, 33, 8, 32, 2.0),
        "cross_lengths": (1, 7, 10, 2, 16, 1.0),
        "single_token": (2, 1, 1, 2, 8, 1.0),
        "peaked": (1, 40, 40, 1, 32, 12.0),
        "long": (1, 150, 150, 1, 32, 2.0),
        "width_128": (2, 19, 19, 1, 128, 1.5),
    }
    for name, (batch, nq, nk, heads, width, scale) in cases.items():
        q = f.draw(f"{name}.q", (batch, nq, heads * width), scale)
        k = f.draw(f"{name}.k", (batch, nk, heads * width), scale)
        v = f.draw(f"{name}.v", (batch, nk, heads * width))
        split = lambda t: t.reshape(batch, -1, heads, width).transpose(1, 2)
        a = torch.softmax(split(q) @ split(k).transpose(2, 3) / width**0.5, dim=-1)
        out = (a @ split(v)).transpose(1, 2).reshape(batch, nq, heads * width)
        check = F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape(out.shape)
        assert (out - check).abs().max() < 1e-12
        f.result(f"{name}.output", out)
        f.describe(name, heads=heads, scale=width**-0.5, layout="batch, token, head * width")

    g = Family("position_attention")
    for name, batch, rows, columns, heads, width in (("small", 2, 3, 4, 2, 8), ("one_row", 1, 1, 6, 2, 8),
                                                     ("one_column", 1, 5, 1, 1, 8), ("eight_heads", 1, 4, 7, 8, 8)):
        tokens, dim = rows * columns, heads * width
        module = reference["attentions"].SelfAttn(dim, heads, 1, True).double()
        x = g.draw(f"{name}.input", (batch, tokens, dim), 2.0)
        with torch.no_grad():
            for parameter in ("q.weight", "k.weight", "v.weight", "v.bias", "proj.weight", "pe_proj.weight",
                              "pe_proj.bias"):
                target = module.get_parameter(parameter)
                fan = target.shape[-1] if target.dim() == 2 else 12.0
                target.copy_(g.draw(f"{name}.{parameter}", tuple(target.shape), (3.0 / fan)**0.5))
            pe = reference["utils"].get_pe(rows, columns, 32, torch.float64, "cpu")
            g.result(f"{name}.output", module(x, pe))
            # P(i, j) of the first token against all: enough to find a wrong table.
            g.result(f"{name}.position_first", pe[0])
            g.result(f"{name}.position_last", pe[tokens - 1])
        g.describe(name, rows=rows, columns=columns, heads=heads,
                   meaning="whole self-attention with q, k, v and proj; position_* is P(i, :) for i = first, last")
    return [f, g]


def resampling(image_tools):
    f = Family("pool_resize")
    for name, shape in (("pool2", (2, 3, 8, 10)), ("pool2_odd", (1, 2, 7, 9)), ("pool2_wide", (1, 33, 4, 6))):
        x = f.draw(f"{name}.input", shape)
        f.result(f"{name}.output", F.avg_pool2d(x, 2))
        f.describe(name, operator="avg_pool2d", kernel=[2, 2], stride=[2, 2])
    for name, shape in (("pool_columns", (1, 5, 6, 12)), ("pool_columns_odd", (1, 5, 6, 13))):
        x = f.draw(f"{name}.input", shape)
        f.result(f"{name}.output", F.avg_pool2d(x, kernel_size=[1, 2]))
        f.describe(name, operator="avg_pool2d", kernel=[1, 2], stride=[1, 2])
    for name, shape, size in (("adaptive", (1, 3, 10, 14), (3, 4)), ("adaptive_even", (1, 2, 12, 9), (4, 3)),
                              ("adaptive_one", (1, 2, 7, 5), (1, 1)), ("adaptive_padding", (1, 1, 96, 64), (2, 1))):
        x = f.draw(f"{name}.input", shape, 100.0, 100.0)
        f.result(f"{name}.output", F.adaptive_avg_pool2d(x, size))
        f.describe(name, operator="adaptive_avg_pool2d", size=size)
    for name, shape in (("bilinear2", (2, 3, 5, 7)), ("bilinear2_one", (1, 2, 1, 1)), ("bilinear2_row", (1, 2, 1, 6)),
                        ("bilinear2_wide", (1, 33, 4, 3))):
        x = f.draw(f"{name}.input", shape)
        f.result(f"{name}.output", F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        f.describe(name, operator="bilinear", factor=2)
    for name, shape, size in (("bilinear_to", (1, 2, 3, 4), (17, 23)), ("bilinear_from_one", (1, 3, 1, 2), (5, 9))):
        x = f.draw(f"{name}.input", shape)
        f.result(f"{name}.output", F.interpolate(x, size=size, mode="bilinear", align_corners=False))
        f.describe(name, operator="bilinear", size=size)
    for name, shape, factor in (("nearest2", (1, 3, 5, 7), 2), ("nearest4", (1, 2, 3, 5), 4)):
        x = f.draw(f"{name}.input", shape)
        f.result(f"{name}.output", F.interpolate(x, scale_factor=factor, mode="nearest"))
        f.describe(name, operator="nearest", factor=factor)

    g = Family("image_pad")
    for name, (h, w) in (("h33_w50", (33, 50)), ("h64_w95", (64, 95)), ("h70_w64", (70, 64)), ("h32_w64", (32, 64)),
                         ("h40_w65", (40, 65))):
        pixels = np.floor(128.0 + 128.0 * uniform(f"ops/image_pad/{name}", h * w * 3)).astype(np.uint8).reshape(h, w, 3)
        g.tensors[f"{name}.input"] = pixels
        image = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
        keep_float, torch.Tensor.float = torch.Tensor.float, lambda t: t  # the function rounds to float32 inside
        try:
            padded = image_tools.image_pad(image, 32)
        finally:
            torch.Tensor.float = keep_float
        in_float32 = image_tools.image_pad(image.float(), 32)
        assert (padded - in_float32).abs().max() < 1e-3
        g.result(f"{name}.output", padded)
        g.describe(name, factor=32, input="rows, columns, RGB", output="1, 3, rows, columns, values 0..255")
    return [f, g]


def matching(reference, r1, r2):
    f = Family("optimal_transport")
    submodules = reference["submodules"]
    cases = {  # name: (rows, width, scale of the scores, positivity)
        "flat": (3, 24, 0.5, False), "flat_positive": (3, 24, 0.5, True),
        "peaked": (4, 33, 20.0, False), "peaked_positive": (4, 33, 20.0, True),
        "sharp": (2, 17, 60.0, False), "sharp_positive": (2, 17, 60.0, True),
        "offset": (2, 20, 3.0, False), "ties": (2, 9, 0.0, False), "ties_positive": (2, 9, 0.0, True),
        "narrow": (2, 2, 2.0, False), "width_48": (1, 48, 6.0, True),
    }
    for name, (rows, width, scale, positivity) in cases.items():
        cv = f.draw(f"{name}.cv", (1, rows, width, width), scale, 110.0 if name == "offset" else 0.0)
        module = submodules.DispInit(width, 3, positivity).double()
        module.layer_norm = torch.nn.Identity()  # scores are given, not features
        plans = []
        inner = module._optimal_transport
        module._optimal_transport = lambda scores: plans.append(inner(scores)) or plans[-1]
        # <left[:, i], right[:, j]> is exactly cv[i, j] when the right features are unit vectors.
        left = cv.permute(0, 3, 1, 2)
        right = torch.eye(width, dtype=torch.float64).reshape(1, width, 1, width).expand(1, width, rows, width)
        with torch.no_grad():
            d0, conf, occ, back = module(torch.cat([left, right]))
        assert torch.equal(back, cv)
        plan = plans[0]
        if positivity:
            plan = plan.masked_fill(torch.triu(torch.ones(width, width, dtype=torch.bool), 1), 0)
        f.result(f"{name}.plan", plan)
        f.result(f"{name}.argmax", plan.argmax(dim=3))
        f.result(f"{name}.d0", d0)
        f.result(f"{name}.conf", conf)
        f.result(f"{name}.occ", occ)
        f.describe(name, positivity=positivity, iterations=3, radius=2)

    g = Family("correlation")
    for name, channels, rows, width in (("small", 5, 3, 7), ("wide", 64, 2, 20)):
        left = g.draw(f"{name}.left", (1, channels, rows, width))
        right = g.draw(f"{name}.right", (1, channels, rows, width))
        g.result(f"{name}.output", torch.einsum("bchi,bchj->bhij", left, right))
        g.describe(name, left="1, C, h, w", right="1, C, h, w", output="1, h, w left, w right")

    k = Family("lookup")
    rows, width = 6, 10
    for name, behaviour, w in (("r3", "r3", width), ("r3_odd", "r3", 11), ("r2", "r2", width), ("r1", "r1", width)):
        cv = k.draw(f"{name}.cv", (1, rows, w, w), 16.0)
        d = 3.0 * uniform(f"ops/lookup/{name}.d", rows * w).reshape(1, 1, rows, w) + 1.0
        d[0, 0, 0] = np.arange(w) - 4.0  # whole numbers, among them every pixel that reads column 4
        d[0, 0, 1] = np.linspace(-2.0 * w, 2.0 * w, w)  # far outside on both sides
        d = k.keep(f"{name}.d", d)
        coords = torch.arange(w, dtype=torch.float64).reshape(1, 1, w, 1).repeat(1, rows, 1, 1)
        if behaviour == "r1":
            coarse = k.draw(f"{name}.coarse", (1, rows // 2, w // 2, w // 2), 16.0)
            lookup = r1["submodules"].CostVolume(cv, coarse, coords, radius=4)
        else:
            version = reference if behaviour == "r3" else r2
            lookup = version["submodules"].CostVolume(cv, coords, radius=4)
        level1, level2 = lookup(d)
        k.result(f"{name}.level1", level1)
        k.result(f"{name}.level2", level2)
        k.describe(name, behaviour=behaviour, radius=4,
                   **({"coarse": "correlation at even rows and columns, h/2, w/2, w/2"} if behaviour == "r1" else {}))
    return [f, g, k]


def upsampling(reference, r1):
    f = Family("upsample")

    class Flags:
        output_upsample = False

    for name, h, w, scale, version in (("x4", 3, 5, 2.0, reference), ("x4_one", 1, 1, 2.0, reference),
                                       ("x4_peaked", 4, 3, 60.0, reference), ("x4_r1", 3, 5, 2.0, r1)):
        q = f.draw(f"{name}.input", (1, 1, h, w), 20.0)
        logits = f.draw(f"{name}.logits", (1, 9, 4 * h, 4 * w), scale)
        f.result(f"{name}.output", version["s2m2"].S2M2.upsample4x(Flags(), q, logits))
        f.describe(name, factor=4, behaviour="r1" if version is r1 else "r3")
    for name, h, w, double, version in (("x1", 7, 9, False, reference), ("x1_doubled", 5, 6, True, reference),
                                        ("x1_r1", 7, 9, False, r1)):
        q = f.draw(f"{name}.input", (1, 1, h, w), 20.0)
        logits = f.draw(f"{name}.logits", (1, 9, h, w), 2.0)
        flags = Flags()
        flags.output_upsample = double
        f.result(f"{name}.output", version["s2m2"].S2M2.upsample1x(flags, q, logits))
        f.describe(name, factor=1, output_upsample=double, behaviour="r1" if version is r1 else "r3")
    return [f]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("--r1")
    parser.add_argument("--r2")
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/fixtures/ops"))
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float64)  # or the reference's marginals and tables would be float32
    torch.set_grad_enabled(False)
    reference = load_reference(arguments.reference, "s2m2_r3")
    r1 = load_reference(arguments.r1, "s2m2_r1")
    r2 = load_reference(arguments.r2, "s2m2_r2")
    image_tools = load_image_tools(arguments.reference)
    provenance = {"torch": torch.__version__, "computed in": "float64", "rounded to": "float32",
                  "made by": "tools/ref/make_op_fixtures.py", "compound operators": "junhong-3dv/s2m2 8f3bd78"}
    os.makedirs(arguments.out, exist_ok=True)
    families = (convolutions() + dense() + norms() + pointwise() + attention(reference) + resampling(image_tools) +
                matching(reference, r1, r2) + upsampling(reference, r1))
    for family in families:
        family.write(arguments.out, provenance)


if __name__ == "__main__":
    main()
