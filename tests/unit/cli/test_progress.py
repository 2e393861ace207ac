"""Progress tells how far, how good, what failed, how fast and how long still."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import lockstep as ls
from lockstep.cli.progress import (
    PREPARING,
    AnnouncedCancel,
    LiveProgress,
    PlainProgress,
    Tally,
    estimate_text,
    verify_progress,
    watch,
)
from lockstep.core.errors import NoValidTrialError
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, Gauge, Prepared
from lockstep.runs.observer import RunInfo
from lockstep.runs.spec import RunSpec
from lockstep.runs.training import Step


def info(total: int | None = 10, first: int = 0) -> RunInfo:
    return RunInfo(folder=Path("runs/r1"), fingerprint="f" * 64, first_step=first, total_steps=total)


def batch(index: int, *, size: int = 100, best: float | None = 1.5, few: int = 0) -> Step:
    total = (index + 1) * size
    return Step(
        index=index,
        scalars={
            "trials": size,
            "total": total,
            "valid": total - few,
            "invalid": {"too_few_trades": few} if few else {},
            "best": None if best is None else {"index": 3, "objective": best},
        },
    )


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_tally_says_speed_in_trials_and_bars_and_the_time_left() -> None:
    tally = Tally(total_steps=10, gauge=Gauge(objective="sharpe_ratio", work={"bars x sets": 5_000}))
    tally.take(batch(0), now=10.0)
    tally.take(batch(1, few=20), now=12.0)
    # 100 trials in 2 s; 8 steps left at half a step per second.
    assert tally.rates() == (0.5, 50.0)
    assert tally.seconds_left() == 16.0
    assert tally.text() == (
        "200 trials; best sharpe_ratio 1.5; 20 invalid (too few trades); 50 trials/s, 250,000 bars x sets/s; 16 s left"
    )


def test_the_speed_is_that_of_the_recent_past_because_the_first_step_compiles() -> None:
    tally = Tally(total_steps=100)
    tally.take(batch(0), now=0.0)
    for index in range(1, 30):
        tally.take(batch(index), now=60.0 + index)
    rates = tally.rates()
    assert rates is not None
    assert rates[0] == pytest.approx(1.0)


def test_before_the_second_step_nobody_can_say_how_long() -> None:
    tally = Tally(total_steps=10)
    tally.take(batch(0), now=10.0)
    assert tally.rates() is None
    assert tally.seconds_left() is None
    assert "left" not in tally.text()


def test_a_run_of_open_length_has_no_time_left() -> None:
    tally = Tally(total_steps=None)
    tally.take(batch(0), now=1.0)
    tally.take(batch(1), now=2.0)
    assert tally.seconds_left() is None


@pytest.mark.parametrize("loss", [0.5, {"total": 0.5, "return": 0.1}])
def test_a_kind_without_trials_counts_steps_and_says_its_loss(loss: Any) -> None:
    tally = Tally(total_steps=4)
    tally.take(Step(index=0, scalars={"loss": loss}), now=1.0)
    assert tally.text() == "1 step; loss 0.5"
    tally.take(Step(index=1, scalars={"loss": loss}), now=1.5)
    # 1 step in half a second; 2 of 4 are left.
    assert tally.text() == "2 steps; loss 0.5; 2 steps/s; 1.0 s left"


def test_numbers_of_a_step_that_are_no_trials_are_not_counted_as_trials() -> None:
    """An agent's "valid" or "total" alone is a number of its own."""
    tally = Tally(total_steps=4)
    tally.take(Step(index=0, scalars={"total": 7, "buffer": 3}), now=1.0)
    assert (tally.trials, tally.text()) == (None, "1 step")


def test_plain_progress_speaks_at_the_first_step_then_occasionally_then_at_the_last() -> None:
    stream, clock = io.StringIO(), Clock()
    watcher = PlainProgress(stream, every_s=5.0, clock=clock)
    watcher.started(info(total=4))
    for index, second in enumerate([100.0, 101.0, 105.5, 106.0]):
        clock.now = second
        watcher.step(batch(index), "h")
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"run r1, fingerprint {'f' * 16}"
    assert [line.split(":")[0] for line in lines[1:]] == ["step 1 of 4", "step 3 of 4", "step 4 of 4"]


def test_lines_about_work_outside_of_the_steps_come_every_few_seconds() -> None:
    """What is over within seconds says nothing; what lasts says how far it is."""
    stream, clock = io.StringIO(), Clock()
    clock.now = 100.0
    watcher = PlainProgress(stream, clock=clock)
    for second in (101.0, 104.9, 105.0, 106.0, 111.0):
        clock.now = second
        watcher.tell(f"at {second}")
    assert stream.getvalue().splitlines() == ["at 105.0", "at 111.0"]


def test_a_resumed_run_says_where_it_goes_on() -> None:
    stream = io.StringIO()
    PlainProgress(stream).started(info(first=7))
    assert "resuming after 7 steps" in stream.getvalue()


def prepared(estimate: Estimate | None) -> Prepared:
    return Prepared(
        spec=RunSpec(kind="strategy"),
        data={"bars": 500},
        code=CodeIdentity(package={}),
        notes=("500 bars",),
        estimate=estimate,
    )


def test_the_announcement_tells_the_data_and_the_estimate_before_the_start() -> None:
    stream = io.StringIO()
    PlainProgress(stream).announce(prepared(Estimate(seconds=200.0, memory_bytes=2_000_000, disk_bytes=500, steps=3)))
    assert stream.getvalue().splitlines() == [
        "500 bars",
        "estimate: about 3 min 20 s on one core, 2.0 MB of memory, 500 bytes on disk, 3 steps",
    ]


def test_the_announcement_says_how_to_read_the_steps() -> None:
    watcher = PlainProgress(io.StringIO())
    gauge = Gauge(objective="calmar_ratio", work={"bars x sets": 400})
    watcher.announce(replace(prepared(None), gauge=gauge))
    watcher.started(info())
    assert watcher.tally.gauge == gauge


def test_bars_that_are_held_out_do_not_count_as_speed(tmp_path: Path) -> None:
    """500 bars, of which 100 are held out."""
    values = {
        "kind": "strategy",
        "data": {"source": "sample", "last": 500},
        "strategy": {"name": "liquidity_sweep", "space": {"pierce_depth": {"low": 0.00005, "high": 0.0005}}},
        "search": {"n_iterations": 2, "objective": "calmar_ratio", "min_trades": 1_000},
        "validation": {"holdout_bars": 100},
    }
    announced: list[Prepared] = []
    with pytest.raises(NoValidTrialError):
        ls.train(values, home=tmp_path, announce=announced.append)
    assert announced[0].gauge == Gauge(objective="calmar_ratio", work={"bars x sets": 400})


def test_an_estimate_leaves_out_what_nobody_knows() -> None:
    assert estimate_text(None) == ""
    assert estimate_text(Estimate()) == ""
    assert estimate_text(Estimate(steps=1_234)) == "1,234 steps"


def test_live_progress_gives_the_terminal_back_and_leaves_its_last_line() -> None:
    stream = io.StringIO()
    watcher = LiveProgress(stream)
    watcher.started(info(total=2))
    watcher.step(batch(0), "h")
    watcher.note("a damaged checkpoint was skipped")
    watcher.step(batch(1), "h")
    watcher.finished({}, "h")
    text = stream.getvalue()
    assert "a damaged checkpoint was skipped" in text
    assert text.rstrip().splitlines()[-1].startswith("200 trials")


def test_a_wish_to_stop_is_answered_once(capfd: pytest.CaptureFixture[str]) -> None:
    cancel = AnnouncedCancel(PlainProgress(io.StringIO()).stopping)
    cancel.request("Ctrl-C")
    cancel.request("Ctrl-C")
    assert capfd.readouterr().err.count("stopping at the next step") == 1
    assert cancel.requested


def test_a_wish_to_stop_stands_below_the_live_bar_which_would_draw_over_it(capfd: pytest.CaptureFixture[str]) -> None:
    """A step may take minutes: the answer to Ctrl-C has to stay in sight for as long."""
    stream = io.StringIO()
    watcher = LiveProgress(stream)
    watcher.started(info(total=2))
    AnnouncedCancel(watcher.stopping).request("Ctrl-C")
    picture = io.StringIO()
    Console(file=picture, width=200).print(watcher._picture())
    watcher.close()
    assert "Ctrl-C: stopping at the next step" in picture.getvalue().splitlines()[-1]
    assert capfd.readouterr().err == ""


def test_a_long_silence_before_the_announcement_is_explained() -> None:
    stream = io.StringIO()
    watcher = PlainProgress(stream)
    watcher.preparing(after_s=0.01)
    deadline = time.monotonic() + 10
    while not stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stream.getvalue() == f"{PREPARING}\n"


def test_a_short_preparation_needs_no_words() -> None:
    stream = io.StringIO()
    watcher = PlainProgress(stream)
    watcher.preparing(after_s=0.2)
    watcher.announce(prepared(None))
    time.sleep(0.3)
    assert stream.getvalue() == "500 bars\n"


def test_verbose_progress_is_a_line_for_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    with watch(every_step=True) as (watcher, _):
        watcher.started(info(total=3))
        for index in range(3):
            watcher.step(batch(index), "h")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]


def test_verify_says_how_far_it_is_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with verify_progress() as on_step:
        on_step(1, 10)
        on_step(2, 10)
    assert capsys.readouterr().err == "computing again: step 1 of 10\n"
