"""Writes tests/fixtures/ops/stereo_gradients.safetensors: gradients of attention, transport, lookup, upsampling,
sampling and pooling, by PyTorch's autograd.

usage: python make_stereo_gradient_fixtures.py REFERENCE --r1 FOLDER --r2 FOLDER [--out FOLDER]

Folders as for make_op_fixtures.py. Operators of S2M2 are differentiated through the reference's own code, the others are
PyTorch's own. A case "<operator>.<variant>" has "<case>.input<k>", "<case>.dy<k>", the gradient that arrives at result k,
and "<case>.d_input<k>", which follows from them; what has no gradient has no d_input. Computed in float64, rounded to
float32 once; inputs and dy are exact float32.
"""
import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F

from make_op_fixtures import Family, load_reference
from seeded import uniform


def differentiate(f, name, inputs, function, dy_scale=1.0, constants=(), **parameters):
    """inputs: tensors already in the file as "<name>.input<k>"; function of them to a list of results."""
    leaves = [x.clone().requires_grad_(k not in constants) for k, x in enumerate(inputs)]
    results = function(*leaves)
    dy = [f.draw(f"{name}.dy{k}", tuple(y.shape), dy_scale) for k, y in enumerate(results)]
    wanted = [k for k in range(len(leaves)) if k not in constants]
    for k, gradient in zip(wanted, torch.autograd.grad(results, [leaves[k] for k in wanted], dy)):
        f.result(f"{name}.d_input{k}", gradient)
    f.describe(name, **parameters)


def attention(f, reference):
    for variant, batch, nq, nk, heads, width, swap in (("two_heads", 2, 11, 11, 2, 8, False),
                                                       ("cross_lengths", 1, 7, 10, 3, 5, False),
                                                       ("swapped", 4, 9, 9, 2, 16, True)):
        name = f"attention.{variant}"
        shapes = ((batch, nq, heads * width), (batch, nk, heads * width), (batch, nk, heads * width))
        inputs = [f.draw(f"{name}.input{k}", shape, 2.0) for k, shape in enumerate(shapes)]
        split = lambda t: t.reshape(batch, -1, heads, width).transpose(1, 2)

        def run(q, k, v):
            if swap:
                k, v = torch.roll(k, batch // 2, 0), torch.roll(v, batch // 2, 0)
            out = F.scaled_dot_product_attention(split(q), split(k), split(v))
            return [out.transpose(1, 2).reshape(batch, nq, heads * width)]

        differentiate(f, name, inputs, run, heads=heads, swap=swap)

    for variant, batch, rows, columns, heads, width in (("small", 2, 3, 4, 2, 8), ("eight_heads", 1, 4, 5, 8, 4)):
        name = f"attention_relative.{variant}"
        tokens, dim = rows * columns, heads * width
        module = reference["attentions"].SelfAttn(dim, heads, 1, True)
        module.proj = torch.nn.Identity()
        pe = reference["utils"].get_pe(rows, columns, 32, torch.float64, "cpu")
        inputs = [f.draw(f"{name}.input{k}", (batch, tokens, dim), 2.0) for k in range(3)]
        inputs.append(f.draw(f"{name}.input3", (width, 32), 0.5))
        inputs.append(f.draw(f"{name}.input4", (width,), 0.5))

        def run(q, k, v, weight, bias):
            for layer, value in zip("qkv", (q, k, v)):
                setattr(module, layer, Given(value))
            module.pe_proj = lambda x: F.linear(x, weight, bias)
            return [module(q, pe)]

        del module.pe_proj
        differentiate(f, name, inputs, run, heads=heads, rows=rows, columns=columns)


class Given(torch.nn.Module):
    """A layer whose result is given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _):
        return self.value


def transport(f, reference):
    for variant, rows, width, scale, positive in (("flat", 2, 12, 0.5, False), ("peaked", 2, 17, 8.0, False),
                                                  ("positive", 2, 17, 8.0, True), ("sharp", 1, 9, 40.0, True)):
        module = reference["submodules"].DispInit(width, 3, positive)
        module.layer_norm = torch.nn.Identity()  # scores are given, not features
        right = torch.eye(width).reshape(1, width, 1, width).expand(1, width, rows, width)

        def run(cv):
            # <left[:, i], right[:, j]> is exactly cv[i, j] when the right features are unit vectors
            disparity, confidence, occlusion, _ = module(torch.cat([cv.permute(0, 3, 1, 2), right]))
            return [disparity, confidence, occlusion]

        name = f"transport.{variant}"
        differentiate(f, name, [f.draw(f"{name}.input0", (1, rows, width, width), scale)], run, positive=positive)

        factor, radius = 4, 1
        name = f"transport_mass.{variant}"
        mask = torch.triu(torch.ones(width, width, dtype=torch.bool), 1) & positive
        truth = f.draw(f"{name}.input1", (1, 1, factor * rows, factor * width), 8.0, 6.0)
        valid = (uniform(f"ops/{f.name}/{name}.valid", factor * factor * rows * width) > -0.5).reshape(truth.shape)
        valid = f.keep(f"{name}.input2", valid.astype(np.float64))
        near = torch.zeros(1, rows, width, width)
        for y in range(factor * rows):
            for x in range(factor * width):
                column = x // factor - int(torch.floor(truth[0, 0, y, x] / factor + 0.5))
                if valid[0, 0, y, x] > 0:
                    near[0, y // factor, x // factor, max(column - radius, 0):max(column + radius + 1, 0)] = 1

        def mass(cv, *_):
            plan = module._optimal_transport(cv.masked_fill(mask, -1e4)).masked_fill(mask, 0)
            return [(plan * near).sum(dim=3)[:, None]]

        differentiate(f, name, [f.draw(f"{name}.input0", (1, rows, width, width), scale), truth, valid], mass,
                      constants=(1, 2), positive=positive, factor=factor, radius=radius)


def lookup(f, reference, r1, r2):
    for variant, rows, w in (("r3", 2, 10), ("r3_odd", 2, 11), ("r2", 2, 10), ("r1", 4, 10)):
        coords = torch.arange(w, dtype=torch.float64).reshape(1, 1, w, 1).repeat(1, rows, 1, 1)
        d = 4.0 * uniform(f"ops/{f.name}/lookup.{variant}.d", rows * w).reshape(1, 1, rows, w) + 1.0
        d[0, 0, 1] = np.linspace(-2.03 * w, 2.07 * w, w)  # far outside on both sides
        for level in range(2):
            name = f"lookup{level + 1}.{variant}"
            fine = torch.zeros(1, rows, w, w) if variant == "r1" and level else None
            shape = (1, rows // 2, w // 2, w // 2) if fine is not None else (1, rows, w, w)
            cv = f.draw(f"{name}.input0", shape, 4.0)

            def run(cv, d):
                if variant == "r1":
                    coarse = torch.zeros(1, rows // 2, w // 2, w // 2)
                    pair = (cv, coarse) if fine is None else (fine, cv)
                    found = r1["submodules"].CostVolume(*pair, coords, radius=4)(d)
                else:
                    version = r2 if variant == "r2" else reference
                    found = version["submodules"].CostVolume(cv, coords, radius=4)(d)
                return [found[level]]

            # level 2 of R2 and R3 differentiates the mean of neighbours too: cv is the fine volume
            differentiate(f, name, [cv, f.keep(f"{name}.input1", d)], run, level=level + 1, half_pixel=variant[1] != "3",
                          pooled=level == 1 and variant != "r1")


def upsampling(f, reference, r1):
    class Flags:
        output_upsample = False

    for variant, h, w, factor, version in (("x4", 2, 3, 4, reference), ("x4_one", 1, 1, 4, reference),
                                           ("x4_r1", 2, 3, 4, r1), ("x1", 5, 6, 1, reference), ("x1_r1", 4, 5, 1, r1)):
        name = f"convex.{variant}"
        inputs = [f.draw(f"{name}.input0", (1, 1, h, w), 5.0),
                  f.draw(f"{name}.input1", (1, 9, factor * h, factor * w), 2.0)]
        function = version["s2m2"].S2M2.upsample4x if factor == 4 else version["s2m2"].S2M2.upsample1x
        differentiate(f, name, inputs, lambda x, m: [function(Flags(), x, m)], factor=factor, clipped=version is r1)


def sampling(f):
    for border in (False, True):
        for corners in (False, True):
            name = f"grid_sample.{'border' if border else 'zeros'}{'_corners' if corners else ''}"
            inputs = [f.draw(f"{name}.input0", (2, 3, 5, 7)), f.draw(f"{name}.input1", (2, 2, 4, 6), 1.4)]
            differentiate(f, name, inputs, lambda x, grid: [F.grid_sample(
                x, grid.permute(0, 2, 3, 1), padding_mode="border" if border else "zeros", align_corners=corners)],
                border=border, align_corners=corners)
        name = f"warp_rows.{'border' if border else 'zeros'}"
        inputs = [f.draw(f"{name}.input0", (1, 3, 4, 11)), f.draw(f"{name}.input1", (1, 1, 4, 11), 6.0)]

        def warp(x, d):
            h, w = x.shape[2:]
            at = torch.arange(w, dtype=torch.float64) - d[:, 0]
            rows = torch.linspace(-1, 1, h, dtype=torch.float64)[None, :, None].expand(d.shape[0], h, w)
            grid = torch.stack([2 * at / (w - 1) - 1, rows], dim=3)
            return [F.grid_sample(x, grid, padding_mode="border" if border else "zeros", align_corners=True)]

        differentiate(f, name, inputs, warp, border=border)


def pooling(f):
    for variant, shape, kernel, stride, pad, exclude in (
            ("ssim", (1, 3, 6, 7), 3, 1, 1, False), ("ssim_excluded", (1, 3, 6, 7), 3, 1, 1, True),
            ("wide", (1, 1, 12, 14), 11, 1, 5, False), ("strided", (1, 2, 9, 8), 3, 2, 1, True),
            ("inside", (2, 2, 7, 9), 4, 1, 0, False)):
        name = f"avg_pool2d.{variant}"
        differentiate(f, name, [f.draw(f"{name}.input0", shape)], lambda x: [F.avg_pool2d(
            x, kernel, stride, pad, count_include_pad=not exclude)], kernel=kernel, stride=stride, pad=pad,
            exclude_pad=exclude)
    for variant, shape in (("even", (2, 3, 4, 6)), ("odd", (1, 2, 5, 7))):
        name = f"avg_pool2.{variant}"
        differentiate(f, name, [f.draw(f"{name}.input0", shape)], lambda x: [F.avg_pool2d(x, 2)])
    for variant, shape, size in (("overlap", (1, 3, 10, 7), (3, 4)), ("one", (1, 2, 7, 5), (1, 1))):
        name = f"adaptive.{variant}"
        differentiate(f, name, [f.draw(f"{name}.input0", shape)], lambda x: [F.adaptive_avg_pool2d(x, size)])
    for variant, shape, size in (("double", (2, 3, 4, 5), (8, 10)), ("row", (1, 2, 1, 6), (2, 12)),
                                 ("to", (1, 2, 3, 4), (17, 11)), ("smaller", (1, 2, 9, 10), (4, 3))):
        name = f"bilinear.{variant}"
        differentiate(f, name, [f.draw(f"{name}.input0", shape)], lambda x: [F.interpolate(
            x, size=size, mode="bilinear", align_corners=False)])
    name = "nearest.double"
    differentiate(f, name, [f.draw(f"{name}.input0", (1, 3, 4, 5))],
                  lambda x: [F.interpolate(x, scale_factor=2, mode="nearest")])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("--r1", required=True)
    parser.add_argument("--r2", required=True)
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/fixtures/ops"))
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float64)  # or the reference's marginals and tables would be float32
    reference = load_reference(arguments.reference, "s2m2_r3")
    r1 = load_reference(arguments.r1, "s2m2_r1")
    r2 = load_reference(arguments.r2, "s2m2_r2")
    f = Family("stereo_gradients")
    attention(f, reference)
    transport(f, reference)
    lookup(f, reference, r1, r2)
    upsampling(f, reference, r1)
    sampling(f)
    pooling(f)
    f.write(arguments.out, {"torch": torch.__version__, "computed in": "float64", "rounded to": "float32",
                            "made by": "tools/ref/make_stereo_gradient_fixtures.py",
                            "compound operators": "junhong-3dv/s2m2 8f3bd78"})


if __name__ == "__main__":
    main()
