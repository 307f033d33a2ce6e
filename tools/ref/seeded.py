"""Numbers that follow from a name alone, the same in every language and version.

The seed is FNV-1a-64 of the name, element e (from 0, C order) is SplitMix64 at position e + 1, and its upper
40 bits give U in [-1, 1) in steps of 2^-23, so U is exact in float32.
"""
import numpy as np

_BASIS = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1


def seed_of(name):
    """FNV-1a, 64 bits, of the UTF-8 bytes of name."""
    seed = _BASIS
    for byte in name.encode():
        seed = ((seed ^ byte) * _PRIME) & _MASK
    return seed


def uniform(name, count):
    """float64 array of count values in [-1, 1)."""
    out = np.empty(count, np.float64)
    seed = np.uint64(seed_of(name))
    step = 1 << 22  # bounds the working memory, changes no value
    with np.errstate(over="ignore"):
        for start in range(0, count, step):
            stop = min(start + step, count)
            z = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
            out[start:stop] = (z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0
    return out


def parameter(name, shape, gain=1.0):
    """float32 array: the value of the network parameter `name`.

    "norm" in the name: weight 1 + 0.1 U, bias 0.1 U. Other one-dimensional tensors: 0.1 U. Everything else:
    gain * U * sqrt(3 * shape[0] / numel), which keeps the variance of a layer's input for gain 1.
    """
    count = int(np.prod(shape))
    u = uniform(name, count)
    if "norm" in name:
        value = 1.0 + 0.1 * u if name.endswith("weight") else 0.1 * u
    elif len(shape) == 1:
        value = 0.1 * u
    else:
        value = gain * u * np.sqrt(3.0 * shape[0] / count)
    return value.reshape(shape).astype(np.float32)
