"""Where ports meet adapters, and nowhere else: each function is a use case of `app` with its ports filled in.

The command line and `import lockstep` both come through here, so they do the same things in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.numerics import enter

if TYPE_CHECKING:
    from lockstep.app.backtest import BacktestReport
    from lockstep.app.collect import CollectedBook
    from lockstep.app.data import ImportReport, SnapshotInfo
    from lockstep.app.diff import DiffReport
    from lockstep.app.estimate import EstimateReport
    from lockstep.app.lesson import Lesson
    from lockstep.app.ports import Ports
    from lockstep.app.replay import Mode, ReplayResult
    from lockstep.app.replay_step import StepView
    from lockstep.app.report import ReportResult
    from lockstep.app.runs_admin import CheckResult, ListedRun
    from lockstep.app.sessions import Pruning
    from lockstep.app.verify import VerifyResult
    from lockstep.episodes.book import EpisodeBook
    from lockstep.learning.gradients.sessions import Sessions
    from lockstep.market.candles import Candles
    from lockstep.market.quality import QualityReport
    from lockstep.runs.executor import Executor
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import Prepared
    from lockstep.runs.observer import Observer
    from lockstep.runs.results import TrainResult
    from lockstep.runs.store import FolderRunStore
    from lockstep.runs.transfer import Transfer
    from lockstep.strategies.base import ParameterSets
    from lockstep.strategies.evaluate import Sweep
    from lockstep.strategies.registry import Reference

KINDS: Final = {
    "cnn": "lockstep.kinds.cnn.kind:KIND",
    "classifier": "lockstep.kinds.classifier.kind:KIND",
    "classifier-keras": "lockstep.kinds.classifier.keras:KERAS_KIND",
    "cnn-episodes": "lockstep.kinds.cnn_episodes.kind:KIND",
    "agent-session": "lockstep.kinds.agent_session.kind:KIND",
    "replay-agent": "lockstep.kinds.replay_agent.kind:KIND",
    "strategy": "lockstep.kinds.strategy.kind:KIND",
}
for _name, _path in KINDS.items():
    registry.register(_name, _path)

IN_PROCESS: Final = "lockstep.clusters.in_process:InProcessExecutor"
LOKY: Final = "lockstep.clusters.loky:LokyExecutor"

Home = Path | str | None


def store_at(home: Home = None) -> FolderRunStore:
    """The runs of a home: the one given, LOCKSTEP_HOME, or ./lockstep-home."""
    from lockstep.runs.store import FolderRunStore, default_home

    # A shell expands "~"; an environment file or a notebook does not, and a folder of that name would be made.
    return FolderRunStore((default_home() if home is None else Path(home)).expanduser())


def executor_of(workers: int) -> Executor:
    """One worker is this process; more are processes of this machine."""
    if workers == 1:
        from lockstep.clusters.in_process import InProcessExecutor

        return InProcessExecutor()
    from lockstep.clusters.loky import LokyExecutor

    return LokyExecutor(workers)


@contextmanager
def _ports(
    home: Home,
    workers: int,
    observers: Sequence[Observer],
    cancel: Cancel | None,
    announce: Callable[[Prepared], None] | None,
) -> Iterator[Ports]:
    from lockstep.app.ports import Ports

    store = store_at(home)
    given: dict[str, Any] = {"announce": announce} if announce is not None else {}
    # A caller that brings no cancel gets Ctrl-C all the same: the run stops at a step, with a checkpoint.
    own = Cancel()
    with executor_of(workers) as executor, own.on_signals() if cancel is None else nullcontext():
        stop = own if cancel is None else cancel
        yield Ports(store=store, executor=executor, observers=observers, cancel=stop, **given)


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
    """Search a strategy's parameters, and keep a record from which the run can be repeated bit for bit.

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

    Raises InputError for what cannot be used, LookAheadError for a strategy that reads the future, NoValidTrialError
    when no trial may win, Interrupted after Ctrl-C (go on with `ls.resume`).
    """
    from lockstep.app.request import training_request
    from lockstep.app.train import train as use_case

    request = training_request(
        spec,
        strategy=strategy,
        network=network,
        episodes=episodes,
        candles=candles,
        samples=samples,
        symbol=symbol,
        timeframe=timeframe,
        seed=seed,
        n_iterations=n_iterations,
        overrides=overrides,
        objects=objects,
    )
    enter(request.numerics, may_restart=False)
    with _ports(home, workers, observers, cancel, announce) as ports:
        return use_case(request, ports, tag=tag)


def estimate(
    spec: Mapping[str, Any] | Path | str | None = None, *, home: Home = None, **options: Any
) -> EstimateReport:
    """What a training will take (steps, time, memory, disk), without training it and without making a run.

    spec       as for `train`
    options    strategy, network, candles, samples, symbol, timeframe, seed, n_iterations, overrides: as for `train`

    A network of any size is only counted, never allocated. Raises what `train` raises before its first step.
    """
    from lockstep.app.estimate import estimate as use_case
    from lockstep.app.request import training_request

    request = training_request(spec, **options)
    enter(request.numerics, may_restart=False)
    store = store_at(home)
    return use_case(request, home=store.home, blobs=store.blobs)


def resume(
    run: str = "last",
    *,
    workers: int = 1,
    home: Home = None,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> TrainResult:
    """Go on with a stopped or killed run; the result is that of a run never interrupted, byte for byte.

    run   a run id, the unique start of one, a tag, "last", or a folder's path

    Raises NotComparableError when code or versions are not those it was begun with, IntegrityError for damage.
    """
    from lockstep.app.resume import resume as use_case

    enter(run_numerics(run, home=home), may_restart=False)
    with _ports(home, workers, observers, cancel, announce) as ports:
        return use_case(run, ports)


def verify(
    run: str = "last",
    *,
    sample: float | str | None = None,
    across: bool = False,
    workers: int = 1,
    home: Home = None,
    on_step: Callable[[int, int], None] | None = None,
) -> VerifyResult:
    """Compute a run again in a fresh process and compare bit for bit.

    sample   compute only this share of the steps, such as 0.02 or "2%", from checkpoints drawn anew each time
    across   compare although code or numerics differ; the result says so

    Raises NotComparableError when they differ and `across` is not set, IntegrityError for damage.
    """
    from lockstep.app.verify import verify as use_case
    from lockstep.runs.verify import ExecutorChoice

    store = store_at(home)
    executor = ExecutorChoice(path=IN_PROCESS) if workers == 1 else ExecutorChoice(path=LOKY, arguments=(workers,))
    return use_case(run, store, executor=executor, sample=sample, across=across, on_step=on_step)


def replay(
    run: str = "last",
    *,
    mode: Mode | Literal["session"] | None = None,
    first: int | None = None,
    last: int | None = None,
    check_every: int = 1_000,
    across: bool = False,
    top: int | None = None,
    network: Any = None,
    overrides: Iterable[str] = (),
    tag: str | None = None,
    home: Home = None,
    workers: int = 1,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    announce: Callable[[Prepared], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> ReplayResult | TrainResult:
    """Replay what a run recorded of its gradients, and compare to the last bit; or go through its session again.

    run          a run, or "best": the session of the highest value
    mode         "gradients" applies the stored gradients, "recompute" computes the steps again; both return a
                 `ReplayResult`. None takes gradients where the record holds all of them. "session" trains a new run on
                 the recorded batches and returns its `TrainResult`
    first, last  the steps to replay, both included, counted from 0
    check_every  of how many applied gradients one state is compared with the journal; 1 compares each
    across       compute again although code or numerics differ
    top          session: only that many steps, the most valuable first
    network      session: another model: a built-in name, "file.py:Class", a subclass of torch.nn.Module, or an instance
    overrides    session: keys of the spec as "a.b=value"; never those that decide which samples there are
    tag          session: a name to call the new run by

    Raises RefusedError for a run that keeps no gradients, NotComparableError when code or numerics differ,
    IntegrityError for damage, MissingLibraryError without torch.
    """
    from lockstep.app.replay import Span
    from lockstep.app.replay import replay as use_case

    if mode == "session":
        given: dict[str, Any] = {"home": home, "workers": workers, "observers": observers, "cancel": cancel}
        given |= {"top": top, "network": network, "overrides": overrides, "tag": tag, "announce": announce}
        return replay_session(run, **given)
    run = run_named(run, home=home)
    enter(run_numerics(run, home=home), may_restart=False)
    store = store_at(home)
    folder = store.find(run)
    with executor_of(workers) as executor:
        return use_case(
            folder,
            blobs=store.blobs,
            executor=executor,
            mode=mode,
            span=Span(first=first, last=last),
            check_every=check_every,
            across=across,
            on_step=on_step,
        )


def replay_session(
    run: str,
    *,
    top: int | None = None,
    network: Any = None,
    overrides: Iterable[str] = (),
    tag: str | None = None,
    home: Home = None,
    workers: int = 1,
    observers: Sequence[Observer] = (),
    cancel: Cancel | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> TrainResult:
    """Train a new run on the recorded batches of another, as `ls.replay(run, mode="session")` does."""
    from lockstep.app.retrain import replay_session as use_case

    run = run_named(run, home=home)
    enter(run_numerics(run, home=home), may_restart=False)
    with _ports(home, workers, observers, cancel, announce) as ports:
        folder = ports.store.find(run)
        return use_case(folder, ports, top=top, network=network, overrides=overrides, tag=tag, base=Path())


def replay_step(run: str, step: int, *, save: Path | None = None, across: bool = False, home: Home = None) -> StepView:
    """One recorded step with the model as it was after it; `save` writes its arrays to a safetensors file."""
    from lockstep.app.replay_step import replay_step as use_case

    run = run_named(run, home=home)
    enter(run_numerics(run, home=home), may_restart=False)
    store = store_at(home)
    with executor_of(1) as executor:
        return use_case(store.find(run), step, blobs=store.blobs, executor=executor, save=save, across=across)


def run_named(run: str, *, home: Home = None) -> str:
    """`run`, with "best" made the id of the session of the highest value. Raises UnknownNameError."""
    from lockstep.app.sessions import run_named as use_case

    return use_case(run, store_at(home))


def sessions(*, thorough: bool = False, home: Home = None) -> Sessions:
    """The gradient trainings of a home, the highest value first, and why others cannot be read, by run id.

    thorough   read every byte now; else lengths and what is shown, and the rest when it is read
    """
    from lockstep.app.sessions import list_sessions

    return list_sessions(store_at(home), thorough=thorough)


def prune_sessions(
    *, keep_last: int | None = None, max_bytes: int | None = None, remove: bool = False, home: Home = None
) -> Pruning:
    """Name the oldest sessions beyond a number or a size, or remove them for good."""
    from lockstep.app.sessions import prune_sessions as use_case

    return use_case(store_at(home), keep_last=keep_last, max_bytes=max_bytes, remove=remove)


def report(run: str = "last", *, out: Path | str | None = None, home: Home = None) -> ReportResult:
    """Write a run's figures as PNGs and one HTML page that shows and says everything, and how to repeat the run.

    run   a run of any status, complete or not; "best" is the session of the highest value
    out   the folder to write to; default ./report-<run id>. Never within a run's own folder

    Without matplotlib the page has tables and words, and a note says what to install. Raises IntegrityError for damage.
    """
    from lockstep.app.report import report as use_case

    store = store_at(home)
    return use_case(run_named(run, home=home), store, out=None if out is None else Path(out))


def diff(a: str, b: str, *, home: Home = None) -> DiffReport:
    """Say where two runs part: data, spec, code, numerics, then the first step and field."""
    from lockstep.app.diff import diff as use_case

    return use_case(a, b, store_at(home))


def sweep(
    candles: Candles, strategy: Reference, parameter_sets: ParameterSets, *, workers: int = 1, **options: Any
) -> Sweep:
    """Run one strategy with many sets of parameters; the winner, run by `ls.backtest`, gives the same metrics.

    parameter_sets   equally long columns by parameter name, or a list of dicts
    workers          processes; their number never changes a result
    options          costs, execution, detail, inputs, on_error, progress: as for `strategies.evaluate.sweep`
    """
    from lockstep.strategies.evaluate import sweep as use_case

    with executor_of(workers) as executor:
        return use_case(candles, strategy, parameter_sets, executor=executor, **options)


def list_runs(*, home: Home = None) -> list[ListedRun]:
    """All runs of a home, oldest first."""
    from lockstep.app.runs_admin import list_runs as use_case

    return use_case(store_at(home))


def show_run(run: str, *, home: Home = None) -> TrainResult:
    """What a run's record says."""
    from lockstep.app.runs_admin import show_run as use_case

    return use_case(run, store_at(home))


def check_run(run: str, *, home: Home = None) -> CheckResult:
    """Compare every byte of a run with what was written."""
    from lockstep.app.runs_admin import check_run as use_case

    return use_case(run, store_at(home))


def export_run(run: str, target: Path, *, home: Home = None) -> Transfer:
    """Pack a run and its data into one file."""
    from lockstep.app.runs_admin import export_run as use_case

    return use_case(run, target, store_at(home))


def import_run(archive: Path, *, home: Home = None) -> Transfer:
    """Take in a run that was exported elsewhere, every byte checked."""
    from lockstep.app.runs_admin import import_run as use_case

    return use_case(archive, store_at(home))


def remove_run(run: str, *, home: Home = None) -> str:
    """Remove a run for good; returns its id."""
    from lockstep.app.runs_admin import remove_run as use_case

    return use_case(run, store_at(home))


def tag_run(run: str, name: str, *, home: Home = None) -> str:
    """Give a run a name; returns its id."""
    from lockstep.app.runs_admin import tag_run as use_case

    return use_case(run, name, store_at(home))


def lesson(run: str, *, home: Home = None) -> Lesson:
    """What a session on episodes left behind."""
    from lockstep.app.lesson import lesson as use_case

    return use_case(run, store_at(home))


def run_folder(run: str, *, home: Home = None) -> RunFolder:
    """The folder of a run. Raises UnknownNameError."""
    return store_at(home).find(run)


def run_numerics(run: str, *, home: Home = None) -> str:
    """The numerics that a run was made with: "native" or "portable". Loads nothing heavy."""
    return str(run_folder(run, home=home).read("spec").get("numerics", "native"))


def backtest_once(source: str | None, *, home: Home = None, **options: Any) -> BacktestReport:
    """One backtest, from a spec, from a run's trial, or from a strategy and data named one by one."""
    from lockstep.app.backtest import backtest_once as use_case

    return use_case(source, store_at(home), **options)


def collect_book(source: str, *, home: Home = None, **options: Any) -> CollectedBook:
    """Collect the episodes of a market into a book on disk; by default that of the home."""
    from lockstep.app.collect import collect_book as use_case

    store = store_at(home)
    return use_case(source, home=store.home, blobs=store.blobs, **options)


def import_data(path: Path, *, home: Home = None, **options: Any) -> ImportReport:
    """Read candles from a file, check every row, and pin them."""
    from lockstep.app.data import import_data as use_case

    return use_case(path, blobs=store_at(home).blobs, **options)


def data_quality(source: str, *, timeframe: str | None = None, home: Home = None) -> QualityReport:
    """Judge a data set."""
    from lockstep.app.data import data_quality as use_case

    return use_case(source, blobs=store_at(home).blobs, timeframe=timeframe)


def read_snapshot(start: str, *, export: Path | None = None, home: Home = None) -> SnapshotInfo:
    """Read a pinned data set back, every byte checked."""
    from lockstep.app.data import read_snapshot as use_case

    return use_case(start, blobs=store_at(home).blobs, export=export)


def list_snapshots(*, home: Home = None) -> tuple[list[SnapshotInfo], list[str]]:
    """The pinned data sets of a home, and what is wrong with those that cannot be used."""
    from lockstep.app.data import list_snapshots as use_case

    return use_case(blobs=store_at(home).blobs)
