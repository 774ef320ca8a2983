"""Random numbers that are a pure function of (key, index): any of them, in any order, without a state.

SplitMix64's finaliser over `key + index x golden ratio` (Steele, Lea, Flood: Fast splittable pseudorandom
number generators, 2014). Sixteen bits of a hash index a table of a distribution, so that one hash serves
four draws and nothing depends on a library's stream staying as it is.
"""

from __future__ import annotations

import hashlib
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.market import FloatArray, IntArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB

DRAWS = 1 << 16  # distinct values of one draw

HashArray = NDArray[np.uint64]


def derive_key(seed: int, label: str) -> int:
    """64-bit key of a named stream, the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{label}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def hash_one(key: int, index: int) -> int:
    """The hash of one index as a Python int; equal to `hash_many` at that index."""
    z = (key + index * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    return z ^ (z >> 31)


def hash_many(key: int, index: IntArray) -> HashArray:
    """uint64 hashes of the indices, in their shape."""
    z: HashArray = index.astype(np.uint64)
    z *= np.uint64(_GOLDEN)
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= np.uint64(_MIX_1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_MIX_2)
    z ^= z >> np.uint64(31)
    return z


def part(hashes: HashArray, number: int) -> NDArray[Any]:
    """Draw `number` (0 to 3) of each hash: integers in [0, DRAWS)."""
    shifted = hashes >> np.uint64(16 * number)
    return (shifted & np.uint64(DRAWS - 1)).astype(np.intp)


@cache
def uniform_table() -> FloatArray:
    """Draw to the open interval (0, 1)."""
    return _frozen((np.arange(DRAWS) + 0.5) / DRAWS)


@cache
def normal_table() -> FloatArray:
    """Draw to a standard normal, cut at 4.2 deviations by the width of a draw."""
    half = DRAWS // 2
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse((half + i + 0.5) / DRAWS) for i in range(half)])
    return _frozen(np.concatenate((-upper[::-1], upper)))


@cache
def fat_table() -> FloatArray:
    """Draw to a fat-tailed value of variance 1: a cubic of the normal (kurtosis about 5.6)."""
    normal = normal_table()
    fat = normal * (0.85 + 0.05 * normal * normal)
    return _frozen(fat / fat.std())


@cache
def bridge_table() -> FloatArray:
    """Draw to -2 ln U: the extreme of a Brownian bridge from a to b with variance v is
    (a + b + sqrt((b - a)^2 + v x this)) / 2 (Karatzas and Shreve, section 4.3)."""
    return _frozen(-2.0 * np.log(uniform_table()))


@cache
def spread_table() -> FloatArray:
    """Draw to a lognormal factor of mean 1 for volumes."""
    return _frozen(np.exp(0.6 * normal_table() - 0.18))


def _frozen(table: FloatArray) -> FloatArray:
    table.setflags(write=False)
    return table
