"""Commands under the names they had before: for one release each does what its new command does, and names it.

replay RUN --session ...   is now   retrain RUN ...
replay RUN --step N ...    is now   step RUN N ...
"""

from __future__ import annotations

from collections.abc import Sequence

_NOTE = "note: `lockstep replay {old}` is now `lockstep {new}`; the old form goes with the next release"

_IDLE = frozenset({"--workers", "-w", "--check-every"})


def renamed(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments with an old form put into its new one, and the line that says so; None where nothing is old."""
    if not arguments or arguments[0] != "replay":
        return list(arguments), None
    rest = list(arguments[1:])
    end = rest.index("--") if "--" in rest else len(rest)
    options, names = rest[:end], rest[end:]
    if "--session" in options:
        return ["retrain", *_without(options, "--session"), *names], _NOTE.format(old="--session", new="retrain RUN")
    for place, option in enumerate(options):
        if option.startswith("--step="):
            number, others = option.removeprefix("--step="), [*options[:place], *options[place + 1 :]]
        elif option == "--step" and place + 1 < len(options):
            number, others = options[place + 1], [*options[:place], *options[place + 2 :]]
        else:
            continue
        return ["step", *_without(_effective(others)), *names, number], _NOTE.format(old="--step N", new="step RUN N")
    return list(arguments), None


def _effective(options: Sequence[str]) -> list[str]:
    """The options less those that `replay --step` took and did nothing with, each with its value."""
    effective, values = [], iter(options)
    for option in values:
        if option in _IDLE:
            next(values, None)
        elif option.partition("=")[0] not in _IDLE:
            effective.append(option)
    return effective


def _without(options: Sequence[str], *flags: str) -> list[str]:
    """The options less `flags`; `--best` is the run "best", which the new commands take as RUN."""
    return ["best" if option == "--best" else option for option in options if option not in flags]
