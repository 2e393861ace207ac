"""A small computation through every library whose choice of code depends on the CPU; prints hashes as JSON."""

import hashlib
import json
import math

import numba
import numpy as np
import scipy.linalg
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__


@numba.njit
def walk(values):
    total = 0.0
    out = np.empty_like(values)
    for i in range(values.size):
        total += values[i] * 1.0000001
        out[i] = values[i] * 2.0 + 1.0 / (1.0 + values[i])
    return total, out


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


x = np.linspace(0.01, 50.0, 100_003)
square = x[:90_000].reshape(300, 300)
total, out = walk(x)
hashes = {name: digest(getattr(np, name)(x)) for name in ("exp", "log", "log1p", "sin", "tanh", "sqrt", "cbrt")}
hashes["sum"] = digest(x.sum())
hashes["power"] = digest(np.power(x, 1.3))
hashes["matmul"] = digest(square @ square.T)
hashes["scipy"] = digest(scipy.linalg.solve(square[:50, :50] + np.eye(50) * 9, x[:50]))
hashes["libm"] = digest([math.exp(v) + math.log(v) for v in x[:5000]])
hashes["numba"] = digest(out) + str(total.hex())
assembler = "".join(walk.inspect_asm().values())
dispatch = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
print(json.dumps({"hashes": hashes, "dispatch": dispatch, "zmm": "%zmm" in assembler}))
