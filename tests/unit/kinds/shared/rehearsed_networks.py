"""Classifiers of a user's, as the text of a file: those that a run can repeat, and those that it cannot."""

from __future__ import annotations

from typing import Final

SOUND: Final = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations


class Base(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.body = nn.Linear(features, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


class Recurrent(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.memory = nn.LSTM(1, 8, 2, batch_first=True, dropout=0.2)

    def forward(self, x):
        return self.head(self.memory(x[:, :, None])[0][:, -1])


class Gated(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.memory = nn.GRU(1, 8, batch_first=True)

    def forward(self, x):
        return self.head(self.memory(x[:, :, None])[1][-1])


class Attending(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.lift, self.layers = nn.Linear(1, 8), nn.TransformerEncoder(layer, 1)

    def forward(self, x):
        return self.head(self.layers(self.lift(x[:, :, None])).mean(1))


class Normed(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.norm = nn.BatchNorm1d(features, momentum=None)

    def forward(self, x):
        return super().forward(self.norm(x))


class Weighed(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.body = parametrizations.weight_norm(self.body)


class Spectral(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.body = parametrizations.spectral_norm(self.body)


class Tied(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.one, self.two, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(3, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.head(self.two(torch.relu(self.one(self.body(x)))))


class Double(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.double()

    def forward(self, x):
        return super().forward(x.double())


class LowPrecision(Base):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


class Averaged(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("mean", self.body.weight.detach().clone())

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(self.body.weight, alpha=0.1)
            return super().forward(x)
        return self.head(torch.relu(F.linear(x, self.mean, self.body.bias)))


class Hooked(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.body.weight.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))


class Checkpointed(Base):
    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        inner = nn.functional.dropout(x, 0.5, self.training)
        return self.head(checkpoint(self.body, inner, use_reentrant=False))


class Looking(Base):
    "keeps what it saw last, and masks by size, for whoever looks at it"
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.masks, self.seen = {}, None

    def forward(self, x):
        if len(x) not in self.masks:
            self.masks[len(x)] = torch.ones(len(x), 1)
        self.seen = self.body(x).detach()
        return super().forward(x * self.masks[len(x)])


class Declares(Base):
    "a counter and a generator of its own, both declared"
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.count, self.dice = 0, torch.Generator().manual_seed(3)

    def get_extra_state(self):
        return {"count": self.count, "dice": self.dice.get_state()}

    def set_extra_state(self, state):
        self.count = state["count"]
        self.dice.set_state(state["dice"])

    def forward(self, x):
        if self.training:
            self.count += 1
            x = x + 0.01 * self.count * torch.randn(x.shape, generator=self.dice)
        return super().forward(x)
"""

UNSOUND: Final = (
    SOUND
    + """
import random
import time

import numpy as np

CALLS = []


class Alone(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        return super().forward(self.norm(x))


class Renormed(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.table = nn.Embedding(64, 8, max_norm=1.0)

    def forward(self, x):
        return self.head(self.table((x.clamp(-3, 3) * 10 + 30).long()).mean(1))


class Clipped(Base):
    def forward(self, x):
        with torch.no_grad():
            self.body.weight.clamp_(-50, 50)
        return super().forward(x)


class ClippedUnseen(Base):
    def forward(self, x):
        self.body.weight.data.clamp_(-50, 50)
        return super().forward(x)


class Frozen(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x):
        self.scale.data += 1
        return super().forward(x)


class Counts(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        return super().forward(x) * (1 if self.calls < 1000 else 2)


class CountsInFile(Base):
    def forward(self, x):
        CALLS.append(len(x))
        return super().forward(x)


class CountsInClass(Base):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return super().forward(x)


class Remembers(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.largest = 0.0

    def forward(self, x):
        self.largest = max(self.largest, float(x.abs().max()))
        return super().forward(x / self.largest)


class Unkept(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.calls += 1
        return super().forward(x)


class OwnDice(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.dice = torch.Generator().manual_seed(3)

    def forward(self, x):
        return super().forward(x + torch.randn(x.shape, generator=self.dice))


class NumpyDice(Base):
    def forward(self, x):
        return super().forward(x + torch.from_numpy(np.random.normal(size=tuple(x.shape)).astype("f4")))


class PythonDice(Base):
    def forward(self, x):
        return super().forward(x * random.random())


class FreshDice(Base):
    def forward(self, x):
        return super().forward(x * float(np.random.default_rng().random()))


class EvaluationMoves(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Detaches(Base):
    def forward(self, x):
        return super().forward(x).detach()


class KeepsGraph(Base):
    before = None

    def forward(self, x):
        out = super().forward(x)
        if self.before is not None and self.training:
            out = out + 0 * self.before.sum()
        self.before = out
        return out


class HookRaises(Base):
    def forward(self, x):
        out = super().forward(x)
        if out.requires_grad:
            out.register_hook(self.refuse)
        return out

    def refuse(self, gradient):
        raise ValueError("not this one")


class EvaluationRaises(Base):
    def forward(self, x):
        if not self.training:
            raise KeyError("mode")
        return super().forward(x)


class EvaluatesToNan(Base):
    def forward(self, x):
        return super().forward(x) / (1 if self.training else 0)


class Brain(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("narrow", torch.zeros(4, dtype=torch.bfloat16))


class Complex(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("waves", torch.zeros(4, dtype=torch.complex64))


class Sparse(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.table = nn.Embedding(64, 8, sparse=True)

    def forward(self, x):
        return self.head(self.table((x.clamp(-3, 3) * 10 + 30).long()).mean(1))


class Threads(Base):
    def forward(self, x):
        torch.set_num_threads(2)
        return super().forward(x)


class Undetermined(Base):
    def forward(self, x):
        torch.use_deterministic_algorithms(False)
        return super().forward(x)


class DeclaresText(Base):
    def get_extra_state(self):
        return {"name": "mine"}

    def set_extra_state(self, state):
        pass


class DeclaresHalf(Declares):
    def set_extra_state(self, state):
        self.count = state["count"]


class FailsAtSeven(Base):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        if self.training:
            self.calls += 1
            if self.calls > 7:
                raise RuntimeError("seven is enough")
        return super().forward(x)


class FailsInThirdEpoch(FailsAtSeven):
    def forward(self, x):
        if self.training:
            self.calls += 1
        elif self.calls > 2 * 4:
            raise KeyError("third")
        return Base.forward(self, x)


class NanInThirdEpoch(FailsInThirdEpoch):
    def forward(self, x):
        if self.training:
            self.calls += 1
        return Base.forward(self, x) * (float("nan") if not self.training and self.calls > 2 * 4 else 1)
"""
)
