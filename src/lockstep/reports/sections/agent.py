"""Sections on an agent: its trades on bars that it never trained on, beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.reports.page import Block, Section
from lockstep.reports.sections.search import luck, metrics_table
from lockstep.reports.words import count, counted, plain_name

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

_AGENTS: Final = {"double_dqn": "double DQN", "actor_critic": "discrete soft actor-critic"}
_MODES: Final = {
    "profit": "mainly from what turned out profitable",
    "uniform": "from all experiences alike",
    "prioritized": "by how far predictions were off",
    "recorded": "from the batches of a recorded run",
}
_PARTS: Final = {
    "test": "never trained on, walked through once",
    "validation": "walked through to choose what is tested",
}
_BASELINES: Final = ("buy_and_hold", "always_flat")


def agent_facts(result: TrainResult) -> list[tuple[str, str]]:
    """Rows: the agent, how its buffer was sampled, and the update whose weights were tested."""
    agent, replay = result.summary.get("agent"), result.summary.get("replay")
    if not isinstance(agent, Mapping) or "algorithm" not in agent:
        return []
    name = _AGENTS.get(agent["algorithm"], plain_name(agent["algorithm"]))
    words = [name]
    if hidden := agent.get("shape", {}).get("hidden"):
        words.append(f"hidden layers {' x '.join(map(str, hidden))}")
    if isinstance(replay, Mapping) and "mode" in replay:
        words.append(f"learns {_MODES.get(replay['mode'], plain_name(replay['mode']))}")
    rows = [("agent", ", ".join(words))]
    if (best := agent.get("best_step")) is not None:
        rows.append(("chosen", f"after update {count(best + 1)}, best on validation, which is tested"))
    return rows


def experience_facts(result: TrainResult) -> list[tuple[str, str]]:
    """A row: the experiences in the buffer at the end, and how many were profitable when the buffer knows."""
    replay = result.summary.get("replay")
    if not isinstance(replay, Mapping) or "experiences" not in replay:
        return []
    words = [f"{count(replay['experiences'])} in the buffer"]
    if "profitable" in replay and replay["experiences"]:
        share = 100 * replay["profitable"] / replay["experiences"]
        draws = replay["profitable_draws"] + replay["unprofitable_draws"]
        draw_share = 100 * replay["profitable_draws"] / draws if draws else 0.0
        words.append(f"{share:.0f} % of them profitable, {draw_share:.0f} % of what was drawn")
    return [("experiences", ", ".join(words))]


def keys(summary: Mapping[str, Any]) -> set[str]:
    """Keys of a summary that the section here shows."""
    return {part for part in _PARTS if _walk(summary, part)}


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Metrics of the test and the validation part; a short report leaves validation out."""
    blocks: list[Block] = []
    for part, history in _PARTS.items():
        if walk := _walk(result.summary, part):
            baselines = walk["baselines"]
            columns = {"agent": walk["metrics"]} | {plain_name(name): baselines.get(name) for name in _BASELINES}
            caption = f"The {part} part, {counted(walk['bars'], 'bar')}: {history}"
            blocks.append(metrics_table(caption, columns, brief=part == "test"))
            blocks += luck(baselines.get("random_entries")) if part == "test" else []
    return [Section(title="Out of sample", blocks=blocks)] if blocks else []


def _walk(summary: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """The table of one part; empty when the summary has none of this form."""
    walk = summary.get(part)
    return walk if isinstance(walk, Mapping) and {"bars", "metrics", "baselines"} <= walk.keys() else {}
