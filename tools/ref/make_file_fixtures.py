"""Makes tests/fixtures/files: small files written by NumPy, PyTorch and safetensors, which our readers must understand,
and the seeds of tests/fuzz/corpus that are made from them. Run from the root of the tree:
    python tools/ref/make_file_fixtures.py
Every value is a formula of its index, so that the tests know it without a second file (see value() there and here)."""
import collections
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib

import numpy as np
import torch
from safetensors.torch import save_file

HERE = "tests/fixtures/files"
CORPUS = "tests/fuzz/corpus"


def values(*shape, seed=0):
    """(i * 37 + seed * 11) % 101 - 50, over 16: exact in f16 and bf16 (six bits)."""
    n = int(np.prod(shape)) if shape else 1
    return (((np.arange(n) * 37 + seed * 11) % 101 - 50) / 16.0).reshape(shape)


def tensor(*shape, seed=0, dtype=torch.float32):
    return torch.from_numpy(values(*shape, seed=seed)).to(dtype)


def state_dict():
    base = tensor(6, 8, seed=3)
    d = collections.OrderedDict()
    d["conv.weight"] = tensor(4, 3, 2, 2, seed=1)
    d["conv.bias"] = tensor(4, seed=2)
    d["shared"] = base
    d["view"] = base[1:5, 2:6]
    d["transposed"] = base.t()
    d["expanded"] = tensor(1, 3, seed=4).expand(2, 3)
    d["half"] = tensor(5, seed=5, dtype=torch.float16)
    d["brain"] = tensor(5, seed=6, dtype=torch.bfloat16)
    d["double"] = tensor(3, seed=7, dtype=torch.float64)
    d["i64"] = torch.arange(-1, 2)
    d["i32"] = torch.arange(-1, 2, dtype=torch.int32)
    d["i16"] = torch.arange(-1, 2, dtype=torch.int16)
    d["i8"] = torch.arange(-1, 2, dtype=torch.int8)
    d["u8"] = torch.arange(253, 256, dtype=torch.uint8)
    d["flag"] = torch.tensor([True, False, True])
    d["scalar"] = torch.tensor(2.5)
    d["empty"] = torch.zeros(0, 4)
    d["parameter"] = torch.nn.Parameter(tensor(2, 2, seed=8))
    return d


def make_torch():
    d = state_dict()
    for protocol in (2, 4):
        torch.save(d, f"{HERE}/plain_p{protocol}.pth", pickle_protocol=protocol)
        torch.save({"state_dict": d, "epoch": 3, "lr": 0.1, "note": "x", "big": 2**70}, f"{HERE}/nested_p{protocol}.pth",
                   pickle_protocol=protocol)
        torch.save(d, f"{HERE}/legacy_p{protocol}.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    optimiser = torch.optim.AdamW(model.parameters())
    torch.manual_seed(0)
    model(torch.randn(1, 2, 8, 8)).sum().backward()
    optimiser.step()
    torch.save({"model": model.state_dict(), "optimizer": optimiser.state_dict(), "step": 7, "loss": [1.0, 2.0], "none": None},
               f"{HERE}/training.pth")
    torch.save(model, f"{HERE}/whole_module.pth")
    torch.save({"outer": {"inner": {"w": tensor(2, seed=1)}, "b": tensor(1, seed=2)}}, f"{HERE}/dicts.pth")
    save_file({k: v.clone().contiguous() for k, v in d.items()}, f"{HERE}/plain.safetensors",
              metadata={"license": "Apache-2.0", "format": "pt", "strange": "\u00e9\u4e16\"\\\n"})


def make_numpy():
    kinds = {"bool": "?", "i1": "i1", "i2": "<i2", "i4": "<i4", "i8": "<i8", "u1": "u1", "u2": "<u2", "u4": "<u4",
             "u8": "<u8", "f2": "<f2", "f4": "<f4", "f8": "<f8"}
    arrays = {}
    for name, kind in kinds.items():
        a = (values(2, 3, seed=1) * 16).astype("i8")
        arrays[name] = (a % 2 if name == "bool" else np.abs(a) if kind.strip("<")[0] == "u" else a).astype(kind)
    arrays["big_f4"] = values(2, 3, seed=2).astype(">f4")
    arrays["big_i2"] = np.arange(6).reshape(2, 3).astype(">i2")
    arrays["fortran"] = np.asfortranarray(values(2, 3, 4, seed=3).astype("f4"))
    arrays["scalar"] = np.float64(2.5)
    arrays["empty"] = np.zeros((0, 4), "f4")
    arrays["kind"] = np.array("disparity")
    arrays["words"] = np.array(["a", "\u00e9\u4e16\U0001f600", ""])
    arrays["big_text"] = np.array("xy").astype(">U2")
    np.savez(f"{HERE}/stored.npz", **arrays)
    np.savez_compressed(f"{HERE}/packed.npz", **arrays)
    np.save(f"{HERE}/f4.npy", values(3, 4, seed=1).astype("f4"))
    np.save(f"{HERE}/objects.npy", np.array([1, "x", None], dtype=object), allow_pickle=True)
    np.save(f"{HERE}/fields.npy", np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))
    with open(f"{HERE}/version2.npy", "wb") as f:
        np.lib.format.write_array(f, values(2, 2).astype("f4"), version=(2, 0))
    with open(f"{HERE}/version3.npy", "wb") as f:
        np.lib.format.write_array(f, values(2, 2).astype("f4"), version=(3, 0))


class NotSeekable(io.RawIOBase):
    """Makes zipfile write data descriptors, as it does into a pipe."""

    def __init__(self, f):
        self.f = f

    def writable(self):
        return True

    def write(self, b):
        return self.f.write(b)


def make_zip():
    with open(f"{HERE}/piped.zip", "wb") as f, zipfile.ZipFile(NotSeekable(f), "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.txt", "hello " * 100)
        z.writestr("b/c.txt", b"")
    with open(f"{HERE}/zip64.zip", "wb") as f, zipfile.ZipFile(f, "w") as z:
        with z.open("big.txt", "w", force_zip64=True) as m:
            m.write(b"zip64 although it is small")


def dump(folder, name, data):
    os.makedirs(f"{CORPUS}/{folder}", exist_ok=True)
    with open(f"{CORPUS}/{folder}/{name}", "wb") as f:
        f.write(data)


def make_corpus():
    read = lambda name: open(f"{HERE}/{name}", "rb").read()
    for name in sorted(os.listdir(HERE)):
        data = read(name)
        if name.endswith(".pth") and len(data) < 8192:
            dump("pth", name, data)
        if name.endswith((".npy", ".npz")) and len(data) < 8192:
            dump("npy", name, data)
        if name.endswith((".npz", ".zip")) and len(data) < 8192:
            dump("zip", name, data)
        if name.endswith(".safetensors"):
            dump("safetensors", name, data)
    for name in ("plain_p2", "plain_p4", "nested_p2", "training", "dicts", "whole_module"):
        with zipfile.ZipFile(f"{HERE}/{name}.pth") as z:
            dump("pth", name + ".pkl", z.read(f"{name}/data.pkl"))
    small = collections.OrderedDict(a=torch.zeros(4, 6), b=torch.zeros(4))
    torch.save(small, "small.pth")
    with zipfile.ZipFile("small.pth") as z:
        dump("pth", "small.pkl", z.read("small/data.pkl"))
    os.remove("small.pth")

    class Call:
        def __init__(self, f, *a):
            self.f, self.a = f, a

        def __reduce__(self):
            return self.f, self.a

    for protocol in (0, 2, 4):
        dump("pth", f"system_p{protocol}.pkl", pickle.dumps({"a": Call(os.system, "true")}, protocol))
    tiny = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [8, 12]},
            "__metadata__": {"k": "v"}}
    text = json.dumps(tiny).encode()
    dump("safetensors", "tiny", struct.pack("<Q", len(text)) + text + bytes(range(12)))
    dump("json", "header", text)
    dump("json", "values", b' {"a":[1,-2.5e3,true,false,null,"\\u00e9\\ud83d\\ude00\\n\\"",{"b":{}}],"c":9223372036854775807,"d":-9223372036854775808} ')
    dump("json", "deep", b"[[[[[[[[[[]]]]]]]]]]")
    for level in (0, 1, 9):
        for name, data in (("text", b"the quick brown fox " * 20), ("ramp", bytes(range(256)) * 4), ("zeros", bytes(3000))):
            c = zlib.compressobj(level, zlib.DEFLATED, -15)
            dump("deflate", f"raw_{name}{level}", struct.pack("<H", len(data)) + c.compress(data) + c.flush())
            dump("deflate", f"zlib_{name}{level}", struct.pack("<H", len(data)) + zlib.compress(data, level))


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    make_torch()
    make_numpy()
    make_zip()
    make_corpus()
