"""The user's own code in a strategy search: a strategy file or class, an objective function; as text that travels.

Whatever is run is loaded from the very bytes that the run keeps, the first time as well as on resume and verify.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import InputError, IntegrityError, StrategyError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.sources import UserSource, source_of_class, source_of_file
from lockstep.search.objective import Judge
from lockstep.strategies.base import Strategy, did_you_mean
from lockstep.strategies.registry import Source, load_module, load_source, lookup, read_source

if TYPE_CHECKING:
    from lockstep.kinds.strategy_spec import SearchTable, StrategySpec
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import PrepareContext

GIVEN_STRATEGY: Final = "strategy.name"
"""Key of a strategy class or instance in `PrepareContext.python_objects`."""
GIVEN_OBJECTIVE: Final = "search.objective"
"""Key of an objective function there."""


@dataclass(frozen=True, kw_only=True)
class UserCode:
    """The strategy, the judge, and what the run keeps of the user's source.

    strategy_name, objective   as the resolved spec names them: built-in, or "file.py:Name" without folders
    """

    strategy: Strategy
    strategy_name: str
    judge: Judge
    objective: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> CodeIdentity:
        """The identity of Lockstep's code and the user's."""
        entry = self.strategy_name if ".py:" in self.strategy_name else None
        return CodeIdentity(sources=dict(sorted(self.files.items())), entry=entry, requires=dict(self.requires))


def from_user(spec: StrategySpec, context: PrepareContext) -> UserCode:
    """Code as the spec and the session name it. Raises StrategyError, UnknownNameError, InputError."""
    found = _given_strategy(context.python_objects.get(GIVEN_STRATEGY))
    if found is None and ".py" in spec.strategy.name:
        found = _from_file(spec.strategy.name, context.base)
    objective: UserSource | None = None
    given = context.python_objects.get(GIVEN_OBJECTIVE)
    if given is not None:
        objective = _given_function(given)
    elif ".py:" in spec.search.objective:
        objective = _from_file(spec.search.objective, context.base)
    name = _built_in_name(context.python_objects.get(GIVEN_STRATEGY)) or spec.strategy.name
    return _assembled(spec.search, found, name, objective)


def from_run(spec: StrategySpec, folder: RunFolder) -> UserCode:
    """The same from the run's `code/`, checked against code.json. Raises IntegrityError, StrategyError."""
    listed = folder.read("code")["user"]

    def kept(reference: str) -> UserSource | None:
        if ".py:" not in reference:
            return None
        file_name, _, attribute = reference.rpartition(":")
        source = source_of_file(folder.sources / file_name, attribute)
        if blake3_hex(source.files[file_name]) != listed.get(file_name):
            raise IntegrityError(
                f"{folder.sources / file_name}: its bytes are not those the run was made with. It is not "
                "used; restore it from a copy"
            )
        return source

    return _assembled(spec.search, kept(spec.strategy.name), spec.strategy.name, kept(spec.search.objective))


def _assembled(
    search: SearchTable, strategy: UserSource | None, built_in: str, objective: UserSource | None
) -> UserCode:
    files: dict[str, bytes] = {}
    requires: dict[str, str] = {}
    for source in (strategy, objective):
        if source is None:
            continue
        clash = [name for name, text in source.files.items() if files.get(name, text) != text]
        if clash:
            raise InputError(f"strategy and objective come from two files of one name, {clash[0]}: rename one of them")
        files |= source.files
        requires |= source.requires
    loaded = lookup(built_in) if strategy is None else load_source(_single(strategy))
    judge = Judge.make(
        search.objective if objective is None else _function(_single(objective)),
        direction=search.direction,
        constraints=search.constraints,
        min_trades=search.min_trades,
    )
    return UserCode(
        strategy=loaded,
        strategy_name=loaded.name if strategy is None else f"{strategy.main}:{strategy.attribute}",
        judge=judge,
        objective=search.objective if objective is None else f"{objective.main}:{objective.attribute}",
        files=files,
        requires=requires,
    )


def _from_file(reference: str, base: Path) -> UserSource:
    read_source(reference, folder=base)  # refuses what cannot travel, in the words of the registry
    path_text, _, attribute = reference.rpartition(":")
    path = Path(path_text).expanduser()
    return source_of_file(path if path.is_absolute() else base / path, attribute)


def _given_strategy(given: Any) -> UserSource | None:
    """The source of a class or instance given in Python; None when there is none, or it comes with Lockstep."""
    if given is None or isinstance(given, str) or _built_in_name(given) is not None:
        return None
    kind = given if isinstance(given, type) else type(given)
    kept = getattr(sys.modules.get(kind.__module__), "__lockstep_source__", None)
    if isinstance(kept, Source):
        return UserSource({kept.file_name: kept.text}, kept.file_name, kind.__name__, {})
    return source_of_class(kind)


def _built_in_name(given: Any) -> str | None:
    kind = given if isinstance(given, type) else type(given)
    if given is None or not issubclass(kind, Strategy) or kind.__module__.partition(".")[0] != "lockstep":
        return None
    return str(kind.name)


def _given_function(given: Any) -> UserSource:
    if not callable(given) or not hasattr(given, "__name__"):
        raise InputError(f"an objective is a metric's name or a function of the metrics; found {given!r}")
    return source_of_class(given)


def _single(source: UserSource) -> Source:
    if len(source.files) > 1:
        beside = ", ".join(sorted(set(source.files) - {source.main}))
        raise StrategyError(
            f"{source.main} imports {beside} from beside it. A strategy travels with its run as one file: move "
            "the code into it, or install it as a package"
        )
    return Source(file_name=source.main, class_name=source.attribute, text=source.files[source.main])


def _function(source: Source) -> Callable[[Mapping[str, float | int | None]], float | None]:
    module = load_module(source)
    found = getattr(module, source.class_name, None)
    if not callable(found):
        names = [name for name, item in vars(module).items() if callable(item) and not name.startswith("_")]
        raise InputError(
            f"{source.file_name} has no function {source.class_name!r}{did_you_mean(source.class_name, names)}; an "
            "objective takes a trial's metrics (a mapping from name to number or None) and returns a number"
        )
    return found  # type: ignore[no-any-return]
