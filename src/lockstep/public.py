"""Functions of `import lockstep as ls`: the commands, with results as values.

    result = ls.train("spec.toml", seed=7)
    ls.verify(result.run_id)

Each is a use case of `app` at a place of `bootstrap`, as its command is. A use case is imported when it is called,
after the run's numerics are in force: NumPy reads them once, when it loads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lockstep.app.patience import Patience
from lockstep.app.request import training_request
from lockstep.app.sessions import find_run, list_sessions, run_named
from lockstep.bootstrap import Home, Place, executor_of, place
from lockstep.core.errors import InputError
from lockstep.runs.numerics import enter

if TYPE_CHECKING:
    from lockstep.app.diff import DiffReport
    from lockstep.app.estimate import EstimateReport
    from lockstep.app.replay import Mode, ReplayResult
    from lockstep.app.report import ReportResult
    from lockstep.app.runs_admin import ListedRun
    from lockstep.app.step import StepView
    from lockstep.app.verify import VerifyResult
    from lockstep.episodes.book import EpisodeBook
    from lockstep.kinds.shared.models import Model
    from lockstep.learning.gradients.sessions import Sessions
    from lockstep.market.candles import Candles
    from lockstep.runs.cancel import Cancel
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import Prepared
    from lockstep.runs.observer import Observer
    from lockstep.runs.results import TrainResult
    from lockstep.strategies.base import ParameterSets
    from lockstep.strategies.evaluate import Sweep
    from lockstep.strategies.registry import Reference


def train(
    spec: Mapping[str, Any] | Path | str | None = None,
    *,
    strategy: Reference | None = None,
    network: Any = None,
    episodes: EpisodeBook | None = None,
    candles: Candles | None = None,
    samples: Any = None,
    symbol: str | None = None,
    timeframe: str | None = None,
    seed: int | str | None = None,
    n_iterations: int | None = None,
    overrides: Iterable[str] = (),
    objects: Mapping[str, Any] | None = None,
    tag: str | None = None,
    workers: int = 1,
    home: Home = None,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> TrainResult:
    """Train what a spec describes, and keep a record from which the run can be repeated bit for bit.

    spec          a spec file, or a mapping of the same form; may be left out when `strategy` is given
    strategy      a built-in name, "file.py:Class", or a class (its source travels with the run)
    network       of a kind that trains one: a built-in name, "file.py:Class", a subclass of torch.nn.Module, or an
                  instance, with whose weights the training begins
    episodes      of the kind "cnn-episodes": the book to choose from (`lockstep.episodes.collect` makes one)
    candles       the market; left out, the spec's [data], which is the bundled sample unless it says otherwise
    samples       labelled samples for a classifier: (x, y), ({name: x}, y) or a PyTorch Dataset
    symbol, timeframe, seed, n_iterations   the spec keys market.symbol, market.timeframe, seed, search.n_iterations
    overrides     further keys as "a.b=value", like --set
    objects       further objects that a file could only name, by the key that a kind knows them by
    tag           a name to call the run by
    workers       processes; their number never changes the result
    home          folder of runs and snapshots; default LOCKSTEP_HOME, else ./lockstep-home
    observers     watch the run, step by step (`lockstep.runs.observer.Observer`); without any, a look-ahead test that
                  lasts says every few seconds on standard error how far it is
    cancel        stops the run at its next step (`lockstep.runs.cancel.Cancel`); without one Ctrl-C does
    announce      called once before the first step with what was prepared, its estimate included; without it the notes
                  of the preparation are those of the result

    Raises InputError for what cannot be used, LookAheadError for a strategy that reads the future, NoValidTrialError
    when no trial may win, Interrupted after Ctrl-C (go on with `ls.resume`).
    """
    request = training_request(
        spec,
        overrides=overrides,
        objects=objects,
        strategy=strategy,
        network=network,
        episodes=episodes,
        candles=candles,
        samples=samples,
        symbol=symbol,
        timeframe=timeframe,
        seed=seed,
        n_iterations=n_iterations,
    )
    enter(request.numerics, may_restart=False)
    from lockstep.app.train import train as use_case

    noted: list[str] = []

    def announced(prepared: Prepared) -> None:
        noted.extend(prepared.notes)

    # Who asks for the announcement has its notes there; anybody else finds them with the result.
    tell = announced if announce is None else announce
    with place(home).ports(workers=workers, observers=observers or [Patience()], cancel=cancel, announce=tell) as ports:
        result = use_case(request, ports, tag=tag)
    return replace(result, notes=(*noted, *result.notes))


def estimate(
    spec: Mapping[str, Any] | Path | str | None = None, *, home: Home = None, **options: Any
) -> EstimateReport:
    """What a training will take (steps, time, memory, disk), without training it and without making a run.

    spec       as for `train`
    options    strategy, network, episodes, candles, samples, symbol, timeframe, seed, n_iterations, overrides, objects:
               as for `train`

    A network of any size is only counted, never allocated. Raises what `train` raises before its first step.
    """
    request = training_request(spec, **options)
    enter(request.numerics, may_restart=False)
    from lockstep.app.estimate import estimate as use_case

    store = place(home).store
    return use_case(request, home=store.home, blobs=store.blobs)


def resume(
    run: str = "last",
    *,
    trust: bool = False,
    workers: int = 1,
    home: Home = None,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> TrainResult:
    """Go on with a stopped or killed run; the result is that of a run never interrupted, byte for byte.

    run       a run id, the unique start of one, a tag, "last", or a folder's path
    trust     run the code that an imported run brings, from now on
    observers, cancel, announce   as for `train`

    Raises NotComparableError when code or versions are not those it was begun with, IntegrityError for damage.
    """
    here = place(home)
    folder = here.store.find(run)
    enter(folder.numerics, may_restart=False)
    from lockstep.app.resume import resume as use_case

    with here.ports(workers=workers, observers=observers or [Patience()], cancel=cancel, announce=announce) as ports:
        return use_case(folder, ports, trust=trust)


def verify(
    run: str = "last",
    *,
    sample: float | str | None = None,
    across: bool = False,
    trust: bool = False,
    workers: int = 1,
    home: Home = None,
    on_step: Callable[[int, int], None] | None = None,
) -> VerifyResult:
    """Compute a run again in a fresh process and compare bit for bit.

    sample    compute only this share of the steps, such as 0.02 or "2%", from checkpoints drawn anew each time
    across    compare although code or numerics differ; the result says so
    trust     run the code that an imported run brings, from now on; without it such a run is refused
    on_step   called with the number of steps done and the number in all

    Raises NotComparableError when they differ and `across` is not set, IntegrityError for damage.
    """
    from lockstep.app.verify import verify as use_case

    here = place(home)
    executor = here.executor_choice(workers)
    return use_case(run, here.store, executor=executor, sample=sample, across=across, trust=trust, on_step=on_step)


def replay(
    run: str = "last",
    *,
    mode: Mode | Literal["session"] | None = None,
    first: int | None = None,
    last: int | None = None,
    check_every: int = 1_000,
    across: bool = False,
    trust: bool = False,
    workers: int = 1,
    home: Home = None,
    on_step: Callable[[int, int], None] | None = None,
    **retraining: Any,
) -> ReplayResult | TrainResult:
    """Replay the gradients that a run recorded, and compare to the last bit.

    run          a run, or "best": the gradient training of the highest value
    mode         "gradients" applies the stored gradients, "recompute" computes the steps again; None takes gradients
                 where the record holds all of them
    first, last  the steps to replay, both included, counted from 0
    check_every  of how many applied gradients one state is compared with the journal; 1 compares each
    across       compute again although code or numerics differ
    trust        run the code that an imported run brings, from now on, when steps are computed again
    on_step      called with the number of steps done and the number in all
    retraining   options of `ls.retrain`, of which mode="session" is the old name; both go with the next release

    Raises RefusedError for a run that keeps no gradients, NotComparableError when code or numerics differ,
    IntegrityError for damage, MissingLibraryError without torch.
    """
    if mode == "session":
        warnings.warn(
            'ls.replay(run, mode="session") is now ls.retrain(run), with the same options; the old form goes with the '
            "next release",
            DeprecationWarning,
            stacklevel=2,
        )
        replaying = {"first": first, "last": last, "on_step": on_step}
        unused = [name for name, value in replaying.items() if value is not None]
        unused += ["across"] if across else []
        if unused:
            raise InputError(
                f'ls.replay(run, mode="session") trains a new run, for which {", ".join(unused)} has no meaning: '
                "leave it out, and call ls.retrain(run)"
            )
        return retrain(run, trust=trust, workers=workers, home=home, **retraining)
    if retraining:
        raise TypeError(f"ls.replay has no option {', '.join(sorted(retraining))}; ls.retrain trains a new run")
    here = place(home)
    folder = _entered(run, here)
    from lockstep.app.replay import Span
    from lockstep.app.replay import replay as use_case

    span = Span(first=first, last=last)
    with here.context(workers) as context:
        return use_case(
            folder,
            context,
            mode=mode,
            span=span,
            check_every=check_every,
            across=across,
            trust=trust,
            on_step=on_step,
        )


def retrain(
    run: str,
    *,
    top: int | None = None,
    network: Any = None,
    overrides: Iterable[str] = (),
    tag: str | None = None,
    trust: bool = False,
    workers: int = 1,
    home: Home = None,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> TrainResult:
    """Train a new run on the recorded batches of another: the same samples in the same order, any model.

    run          a run that recorded its gradients, or "best": the one of the highest value
    top          only that many steps, the most valuable first
    network      another model: a built-in name, "file.py:Class", a subclass of torch.nn.Module, or an instance
    overrides    keys of the spec as "a.b=value"; never those that decide which samples there are
    tag          a name to call the new run by
    trust        run the code that an imported run brings, from now on
    workers, observers, cancel, announce   as for `train`

    The new run does not need the old one any more. Raises RefusedError for a kind that cannot be retrained or a record
    without batches, InputError for an override of the samples, NetworkError for a model that cannot learn from them.
    """
    here = place(home)
    folder = _entered(run, here)
    from lockstep.app.retrain import retrain as use_case

    with here.ports(workers=workers, observers=observers or [Patience()], cancel=cancel, announce=announce) as ports:
        return use_case(folder, ports, top=top, network=network, overrides=overrides, tag=tag, base=Path(), trust=trust)


def step(
    run: str,
    number: int,
    *,
    save: Path | str | None = None,
    across: bool = False,
    trust: bool = False,
    home: Home = None,
) -> StepView:
    """One recorded step with the model as it was after it, checked against the digest in the journal.

    run      a run that recorded its gradients, or "best": the one of the highest value
    number   counted from 0; negative numbers count from the end, so -1 is the last step
    save     a file to write model state and gradients to (.safetensors)
    across   compute the state again, where that is needed, although code or numerics differ
    trust    run the code that an imported run brings, from now on, where the state is computed again

    Raises InputError for a step that is not there, NotEqualError when the state does not have its digest,
    NotComparableError when code or numerics differ, IntegrityError for damage.
    """
    here = place(home)
    folder = _entered(run, here)
    from lockstep.app.step import step as use_case

    with here.context() as context:
        path = None if save is None else Path(save)
        return use_case(folder, number, context, save=path, across=across, trust=trust)


def load_model(run: str = "last", *, trust: bool = False, home: Home = None) -> Model:
    """The trained model of a complete run, to predict with; its data are those that the run pinned.

    run     a run id, the unique start of one, a tag, "last", "best", or a folder's path
    trust   run the code that an imported run brings, from now on

    The result has `predict` and `signals`: of `cnn` and `replay-agent` they take candles, and `strategy()` goes to
    `ls.backtest`; of the other kinds they take samples (`kinds.shared.models`). `notes` say where this machine's
    numerics are not those of the run.

    Raises RefusedError for a run that is not complete, for a search, which leaves no model, and for code that nobody
    has allowed; IntegrityError for damage, DataError when the run's data are missing, MissingLibraryError.
    """
    here = place(home)
    folder = _entered(run, here)
    from lockstep.app.model import load_model as use_case

    return use_case(folder, here.store.blobs, trust=trust)


def sessions(*, thorough: bool = False, home: Home = None) -> Sessions:
    """Runs of a home that learn by gradients, the highest value first, and the problems of damaged ones by run id.

    thorough   check every byte now; by default lengths and what is listed, and the rest when it is read
    """
    return list_sessions(place(home).store, thorough=thorough)


def report(run: str = "last", *, out: Path | str | None = None, home: Home = None) -> ReportResult:
    """Write a run's figures as PNGs and one HTML page that shows and says everything, and how to repeat the run.

    run   a run of any status, complete or not; "best" is the gradient training of the highest value
    out   the folder to write to; default ./report-<run id>. Never within a run's own folder

    Without matplotlib the page has tables and words, and a note says what to install. Raises IntegrityError for damage.
    """
    from lockstep.app.report import report as use_case

    store = place(home).store
    return use_case(run_named(run, store), store, out=None if out is None else Path(out))


def diff(a: str, b: str, *, home: Home = None) -> DiffReport:
    """Say where two runs part: data, spec, code, numerics, then the first step and field."""
    from lockstep.app.diff import diff as use_case

    return use_case(a, b, place(home).store)


def sweep(
    candles: Candles, strategy: Reference, parameter_sets: ParameterSets, *, workers: int = 1, **options: Any
) -> Sweep:
    """Run one strategy with many sets of parameters; the winner, run by `ls.backtest`, gives the same metrics.

    parameter_sets   a mapping of lists, which is their grid: {"fast": [10, 20], "slow": [50, 100]} is four sets; a set
                     per row as `ls.columns(fast=[10, 20], slow=[50, 100])` or a frame; or a list of dicts
    workers          processes; their number never changes a result
    options          costs, execution, detail, inputs, on_error, progress: as for `strategies.sweeps.sweep`
    """
    from lockstep.strategies.sweeps import sweep as use_case

    with executor_of(workers) as executor:
        return use_case(candles, strategy, parameter_sets, executor=executor, **options)


def list_runs(*, home: Home = None) -> list[ListedRun]:
    """All runs of a home, oldest first. A damaged one is listed with its problem."""
    from lockstep.app.runs_admin import list_runs as use_case

    return use_case(place(home).store)


def _entered(run: str, here: Place) -> RunFolder:
    """The folder of a run, or of "best", with its numerics in force. Raises UnknownNameError, RefusedError."""
    if not isinstance(run, str):
        raise InputError(f'a run is named by text: its id, a tag, "last" or a path; found {type(run).__name__}')
    folder = find_run(run, here.store)
    enter(folder.numerics, may_restart=False)
    return folder
