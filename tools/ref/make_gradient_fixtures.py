"""Writes tests/fixtures/ops/layer_gradients.safetensors: gradients of convolutions, linear, norms and softmax.

usage: python make_gradient_fixtures.py [--out FOLDER]

Inputs are float32 values made by seeded.py from "ops/layer_gradients/<tensor>"; PyTorch differentiates in float64 and the
results are rounded to float32 once. A case has "<case>.input", ".weight", ".bias" and ".dy", the gradient that arrives at
the result, and those that follow from it, ".d_input", ".d_weight", ".d_bias"; absent where the layer has none.
"""
import argparse
import os

import torch
import torch.nn.functional as F

from make_op_fixtures import Family


def add(f, name, shape, weight_shape, bias, function, weight_scale=0.5, weight_offset=0.0, offset=0.0, **parameters):
    leaves = {"input": f.draw(f"{name}.input", shape, 1.5, offset).requires_grad_()}
    if weight_shape:
        leaves["weight"] = f.draw(f"{name}.weight", weight_shape, weight_scale, weight_offset).requires_grad_()
    if bias:
        leaves["bias"] = f.draw(f"{name}.bias", (bias,), 0.5).requires_grad_()
    y = function(leaves["input"], leaves.get("weight"), leaves.get("bias"))
    dy = f.draw(f"{name}.dy", tuple(y.shape))
    for leaf, gradient in zip(leaves, torch.autograd.grad(y, list(leaves.values()), dy)):
        f.result(f"{name}.d_{leaf}", gradient)
    f.describe(name, **parameters)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/fixtures/ops"))
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    f = Family("layer_gradients")
    for name, n, ci, h, w, co, kernel, stride, padding in (
            ("conv_k3", 2, 5, 7, 9, 6, (3, 3), 1, (1, 1)), ("conv_k3_tiles", 1, 16, 11, 14, 32, (3, 3), 1, (1, 1)),
            ("conv_k3s2", 1, 6, 11, 9, 5, (3, 3), 2, (1, 1)), ("conv_k3s2_even", 1, 4, 12, 10, 20, (3, 3), 2, (1, 1)),
            ("conv_k5s2_even", 1, 4, 12, 16, 8, (5, 5), 2, (2, 2)), ("conv_k3x1", 1, 10, 7, 9, 5, (3, 1), 1, (1, 0)),
            ("conv_k1x3", 1, 10, 7, 9, 5, (1, 3), 1, (0, 1)), ("conv_k1", 2, 9, 5, 7, 12, (1, 1), 1, (0, 0))):
        add(f, name, (n, ci, h, w), (co, ci, *kernel), co,
            lambda x, weight, b, s=stride, p=padding: F.conv2d(x, weight, b, stride=s, padding=p),
            stride=stride, pad_h=padding[0], pad_w=padding[1])
    for name, n, ci, h, w, co, k, stride, padding in (("transpose_k2s2", 2, 5, 6, 9, 7, 2, 2, 0),
                                                      ("transpose_k3", 1, 3, 7, 9, 16, 3, 1, 1),
                                                      ("transpose_k4s2", 1, 6, 5, 4, 5, 4, 2, 1)):
        add(f, name, (n, ci, h, w), (ci, co, k, k), co,
            lambda x, weight, b, s=stride, p=padding: F.conv_transpose2d(x, weight, b, stride=s, padding=p),
            stride=stride, pad_h=padding, pad_w=padding)
    add(f, "linear", (2, 7, 19), (23, 19), 23, F.linear)
    for name, shape in (("layer_norm", (3, 4, 32)), ("layer_norm_odd", (2, 5, 13))):
        add(f, name, shape, shape[-1:], shape[-1], lambda x, weight, b: F.layer_norm(x, x.shape[-1:], weight, b, 1e-5),
            weight_scale=0.3, weight_offset=1.0)
    for name, shape, groups, offset in (("group_norm_eight", (2, 16, 5, 7), 8, 0.0),
                                        ("group_norm_three_each", (1, 24, 3, 11), 8, 1.0),
                                        ("group_norm_far_from_zero", (1, 32, 6, 5), 8, 50.0)):
        add(f, name, shape, shape[1:2], shape[1],
            lambda x, weight, b, g=groups: F.group_norm(x, g, weight, b, 1e-5), weight_scale=0.3, weight_offset=1.0,
            offset=offset, groups=groups)
    add(f, "softmax", (3, 5, 17), None, 0, lambda x, weight, b: torch.softmax(x, -1))
    f.write(arguments.out, {"torch": torch.__version__, "computed in": "float64", "rounded to": "float32",
                            "made by": "tools/ref/make_gradient_fixtures.py"})


if __name__ == "__main__":
    main()
