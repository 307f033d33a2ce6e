"""Writes safetensors files whose bytes depend on their content alone (the package orders metadata at random)."""
import json
import os
import struct

import numpy as np

_TYPES = {"float64": "F64", "float32": "F32", "int32": "I32", "uint8": "U8"}


def save(path, tensors, metadata):
    """Tensors by name (largest element type first, then by name) and metadata as text by name."""
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {"dtype": _TYPES[tensor.dtype.name], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).tobytes())
    os.replace(path + ".part", path)
