"""The one error tree of Lockstep.

    LockstepError                     exit code
    ├── InputError (ValueError)           2     input that cannot be used
    │   ├── SpecError                           a spec file or an override
    │   ├── DataError                           candles or another data set
    │   ├── SpaceError                          a parameter space or a parameter value
    │   ├── StrategyError                       a user's strategy: its source, its signals, its exceptions
    │   ├── NetworkError                        a user's network: its source, its arguments, what it returns
    │   └── UnknownNameError                    a name that is not registered
    ├── RefusedError                      1     understood, but Lockstep declines to go on
    │   ├── NoValidTrialError (ValueError)      a search in which no trial may win
    │   └── LookAheadError                      a strategy that reads the future
    ├── NotEqualError                     1     two things that had to be equal are not
    ├── IntegrityError                    1     stored bytes are not the bytes that were written
    ├── NotComparableError                3     other code or numerics: equality cannot be expected
    ├── MachineError                      4     the machine, not the input: disk, memory, processes
    │   ├── DiskError                           a read or write failed
    │   ├── WorkerLostError                     worker processes died again and again
    │   └── MissingLibraryError (ImportError)   an optional library is not installed
    └── Interrupted                     130     stopped on request, with everything kept

Every message names the rule, the value found, the place and the cure. Exit code 0 is success.
`InputError` is also a `ValueError`, so callers who do not know this tree still catch it.
"""

from __future__ import annotations

from typing import ClassVar


class LockstepError(Exception):
    """Root of every error that Lockstep raises on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(LockstepError, ValueError):
    """Input of the user that cannot be used."""

    exit_code: ClassVar[int] = 2


class SpecError(InputError):
    """A spec file, or an override of one of its keys, breaks a rule."""


class DataError(InputError):
    """Candles, or another data set, break a rule."""


class SpaceError(InputError):
    """A parameter space, or a value meant for one, breaks a rule."""


class StrategyError(InputError):
    """A strategy cannot be loaded, raised an exception, or returned unusable signals.

    recorded   the message for a run's record, where it differs: paths of this machine enter no hash
    """

    recorded: str | None = None


class NetworkError(InputError):
    """A network cannot be loaded, made from its parameters, or returned what no loss can be computed from."""


class UnknownNameError(InputError):
    """A name was looked up that nothing is registered under."""


class RefusedError(LockstepError):
    """The request was understood and is declined."""


class NoValidTrialError(RefusedError, ValueError):
    """A search ended without one trial that may win."""


class LookAheadError(RefusedError):
    """A strategy's decision at some bar changed when only later bars changed, or with what it was asked before."""


class NotEqualError(LockstepError):
    """Two journals, runs or values that had to be equal are not."""


class IntegrityError(LockstepError):
    """Stored bytes are not the bytes that were written; they are never used."""


class NotComparableError(LockstepError):
    """Code or numerics differ, so equality can be neither claimed nor refuted."""

    exit_code: ClassVar[int] = 3


class MachineError(LockstepError):
    """The machine failed, not the input."""

    exit_code: ClassVar[int] = 4


class DiskError(MachineError):
    """A file could not be read or written."""


class WorkerLostError(MachineError):
    """Worker processes died more often than they are retried."""


class MissingLibraryError(MachineError, ImportError):
    """A feature needs an optional library that is not installed here."""


class Interrupted(LockstepError):  # noqa: N818 - an interruption is a wish, not an error
    """The run stopped on request; everything up to its last step is kept."""

    exit_code: ClassVar[int] = 130
