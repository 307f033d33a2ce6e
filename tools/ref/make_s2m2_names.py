"""Writes tests/fixtures/s2m2/names_M.txt and names.tsv: the parameter lists of the public S2M2 code, in file order.

usage: python make_s2m2_names.py REFERENCE [--check SIZE=FILE ...] [--out FOLDER]

A list is one line a parameter: name, tab, shape as 64x16x5x5, newline. names.tsv holds for every size the number of
tensors, of parameters, and the SHA-256 of its list and of its sorted list (a program has no file order). --check compares a list with a file of "name shape" lines.
"""
import argparse
import hashlib
import os

import torch

from make_op_fixtures import load_reference
from make_s2m2_fixtures import SIZES


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("--check", nargs="*", default=[])
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "../../tests/fixtures/s2m2"))
    arguments = parser.parse_args()
    module = load_reference(arguments.reference, "s2m2_r3")["s2m2"]
    lists = {}
    rows = ["size\ttensors\tparameters\tsha256\tsha256_sorted\n"]
    for size, (channels, transformers) in SIZES.items():
        with torch.device("meta"):
            state = module.S2M2(channels, 1, transformers).state_dict()
        lists[size] = "".join(f"{name}\t{'x'.join(map(str, value.shape))}\n" for name, value in state.items())
        count = sum(value.numel() for value in state.values())
        digest = lambda lines: hashlib.sha256("".join(lines).encode()).hexdigest()
        lines = lists[size].splitlines(keepends=True)
        rows.append(f"{size}\t{len(state)}\t{count}\t{digest(lines)}\t{digest(sorted(lines))}\n")
    for pair in arguments.check:
        size, path = pair.split("=", 1)
        with open(path) as file:
            same = [line.split() for line in file if line.strip()] == [l.split() for l in lists[size].splitlines()]
        print(size, "equal to" if same else "DIFFERS FROM", path)
    with open(os.path.join(arguments.out, "names.tsv"), "w") as file:
        file.writelines(rows)
    with open(os.path.join(arguments.out, "names_M.txt"), "w") as file:
        file.write(lists["M"])
    print("".join(rows), end="")


if __name__ == "__main__":
    main()
