"""The report of `kind = "replay-agent"`: how the agent trades bars that it never saw, beside doing nothing clever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from lockstep.cli.pieces import luck, metrics_table
from lockstep.cli.words import count, counted, number

if TYPE_CHECKING:
    from rich.console import RenderableType

_AGENTS: Final = {
    "double_dqn": "double DQN",
    "actor_critic": "discrete soft actor-critic",
}
_MODES: Final = {
    "profit": "mainly from what turned out profitable",
    "uniform": "from all experiences alike",
    "prioritized": "by how far predictions were off",
    "recorded": "from the batches of a recorded session",
}


def head(spec: Mapping[str, Any], summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained on what."""
    data, agent, replay = summary["data"], summary["agent"], summary["replay"]
    market = " ".join(str(data[key]) for key in ("exchange", "symbol", "timeframe") if data.get(key))
    name = _AGENTS.get(agent["algorithm"], agent["algorithm"])
    hidden = " x ".join(map(str, agent["shape"]["hidden"]))
    rows = [
        ("agent", f"{name}, hidden layers {hidden}, {_MODES[replay['mode']]}"),
        ("data", f"{market}, {count(data['bars'])} bars, {counted(data['purge_bars'], 'bar')} left out between parts"),
    ]
    for part in ("training", "validation", "test"):
        found = data["parts"][part]
        rows.append((part, f"{count(found['bars'])} bars, {found['start']} to {found['end']}"))
    best = agent["best_step"]
    chosen = "" if best is None else f"; best on validation after update {count(best + 1)}, which is tested"
    rows.append(
        ("updates", f"{count(summary['steps'])} of {count(spec['training']['batch_size'])} experiences{chosen}")
    )
    rows.append(("experiences", _experiences(replay)))
    rows.append(("session value", f"{number(summary['value'])}, {'' if summary['converged'] else 'not '}converged"))
    if summary["ended"] != "complete":
        rows.append(("ended", f"by {summary['ended']}: the record reached its limit"))
    return rows


def _experiences(replay: Mapping[str, Any]) -> str:
    kept = f"{count(replay['experiences'])} kept"
    if "profitable" not in replay or not replay["experiences"]:
        return kept
    share = 100 * replay["profitable"] / replay["experiences"]
    draws = replay["profitable_draws"] + replay["unprofitable_draws"]
    drawn = 100 * replay["profitable_draws"] / draws if draws else 0.0
    return f"{kept}, {share:.0f} % of them profitable, {drawn:.0f} % of what was drawn"


def body(summary: Mapping[str, Any]) -> list[RenderableType]:
    """The test part beside its baselines, and what may be said of it."""
    test = summary["test"]
    baselines = test["baselines"]
    beside = {"buy and hold": baselines["buy_and_hold"], "always flat": baselines["always_flat"]}
    parts: list[RenderableType] = [
        Text(),
        Text(f"test part, {count(test['bars'])} bars, never trained on, walked through once"),
        metrics_table("agent", test["metrics"], beside),
        *(Text(line) for line in luck(baselines)),
        Text(),
        Text(summary["sentence"], style="bold"),
    ]
    return parts
