"""What a kind of training supplies to the loop: `Training`, and the values that the two exchange.

Everything that Lockstep trains is a sequence of steps. A kind yields them; `runs.loop.execute` records them,
checkpoints, stops, resumes and seals, once for all kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from lockstep.storage.columns import Columns

if TYPE_CHECKING:
    from lockstep.storage.segments import SegmentReader


State: TypeAlias = Mapping[str, Any]
"""Nested mappings and lists of text, numbers, booleans, None and numeric arrays; keys are text.

It has to stay small: what grows with the run belongs into a segment.
"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a training, as the journal keeps it.

    scalars    a few numbers and short texts; anything that canonical JSON holds
    digests    by name, BLAKE3 of whatever the step computed but does not store
    segments   by name, the columns that this step appends to append-only segments: equally long numeric arrays (rows
               first), the same names, dtypes and trailing shapes at every step

    editions   segments whose columns are hashed one by one as well: by segment, the columns that were redefined and the
               number of their present definition (`runs.line_differences`)

    The loop has finished with the arrays before it asks for the next step, so a training may reuse them.
    """

    index: int
    scalars: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    segments: Mapping[str, Columns] = field(default_factory=dict)
    editions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished training leaves, both deterministic: a summary (canonical JSON) and files by flat name."""

    summary: Mapping[str, Any]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a training may read back of its own run: the segments appended so far, and nothing later."""

    segments: SegmentReader


class Training(Protocol):
    """A training as a generator of steps. `lockstep.testing.contracts.training_kind` checks every rule below.

    - `steps()` yields steps numbered 0, 1, 2 ...; after `set_state` of a state taken after step k it goes on with
      step k + 1, and yields nothing when k was the last.
    - `get_state()` is called between steps only (the generator rests at its `yield`, or has ended, or has not
      begun) and describes everything that later steps depend on. The loop has written it down before it goes on.
    - `finish()` is called once, after the last step; called again from the same state it returns the same bytes.
    - The same spec, data, code and numerics give the same steps and result. No clock, host or path enters them.
    """

    @property
    def total_steps(self) -> int | None:
        """How many steps there will be in all, or None where that is open. For display only."""
        ...

    def steps(self) -> Iterator[Step]:
        """The steps from the present state on."""
        ...

    def get_state(self) -> State:
        """Everything that the steps still to come depend on."""
        ...

    def set_state(self, state: State) -> None:
        """Go back, or forward, to a state that `get_state` returned."""
        ...

    def finish(self) -> Result:
        """The summary and artifacts of a training whose steps have ended."""
        ...


@runtime_checkable
class ReadsRecord(Protocol):
    """A training that reads its own segments back. `attach` is called once, before `set_state` and `steps()`."""

    def attach(self, record: RunRecord) -> None:
        """Receive the record, from which segments written so far can be read at any time."""
        ...
