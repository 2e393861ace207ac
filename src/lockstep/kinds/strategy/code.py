"""The user's code in a strategy search: a strategy file or class, and an objective function.

Code is loaded from the bytes that the run stores, in `train` as in `resume` and `verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import InputError
from lockstep.core.near_names import did_you_mean
from lockstep.kinds.shared import user_sources
from lockstep.kinds.shared.user_sources import Travelling, reference_of, single
from lockstep.runs.user_modules import STRATEGY, Source, load_module
from lockstep.search.objective import Judge
from lockstep.strategies.base import Strategy
from lockstep.strategies.registry import load_source, lookup

if TYPE_CHECKING:
    from lockstep.kinds.strategy.spec import SearchTable, StrategySpec
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.identity import CodeIdentity
    from lockstep.runs.kind import PrepareContext
    from lockstep.runs.sources import UserSource

STRATEGY_KEY: Final = "strategy.name"
"""Key of a strategy class or instance in `PrepareContext.python_objects`."""
OBJECTIVE_KEY: Final = "search.objective"
"""Key of an objective function in `PrepareContext.python_objects`."""


@dataclass(frozen=True, kw_only=True)
class UserCode:
    """The strategy, the judge, and the user's source.

    strategy_name, objective   names in the resolved spec: built-in, or "file.py:Name" without folders
    files, requires            the source as the run stores it (`user_sources.Travelling`)
    """

    strategy: Strategy
    strategy_name: str
    judge: Judge
    objective: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> CodeIdentity:
        """The user's part of the code identity."""
        return Travelling(files=self.files, requires=self.requires).identity(self.strategy_name)


def from_user(spec: StrategySpec, context: PrepareContext) -> UserCode:
    """Code that Python hands over or the spec names. Raises StrategyError, UnknownNameError, InputError."""
    strategy, function = (context.python_objects.get(key) for key in (STRATEGY_KEY, OBJECTIVE_KEY))
    source = _source_of_strategy(strategy)
    # The class in the call wins; its name in the spec is only a label then.
    if source is None and ".py" in spec.strategy.name:
        source = user_sources.from_file(spec.strategy.name, context.base, STRATEGY)
    objective: UserSource | None = None
    if function is not None:
        objective = _source_of_function(function)
    elif ".py:" in spec.search.objective:
        objective = user_sources.from_file(spec.search.objective, context.base, STRATEGY)
    return _assembled(spec.search, source, _built_in_name(strategy) or spec.strategy.name, objective)


def from_run(spec: StrategySpec, folder: RunFolder) -> UserCode:
    """The same code from the run's `code/`, checked against code.json. Raises IntegrityError, StrategyError."""
    strategy, objective = (
        user_sources.from_run(name, folder, STRATEGY) for name in (spec.strategy.name, spec.search.objective)
    )
    return _assembled(spec.search, strategy, spec.strategy.name, objective)


def _assembled(
    search: SearchTable, strategy: UserSource | None, built_in: str, objective: UserSource | None
) -> UserCode:
    # One folder of the run holds both, so it cannot store two files of one name.
    travelling = Travelling.of((strategy, objective), "strategy and objective")
    loaded = lookup(built_in) if strategy is None else load_source(single(strategy, STRATEGY))
    judge = Judge.make(
        search.objective if objective is None else _function(single(objective, STRATEGY)),
        direction=search.direction,
        constraints=search.constraints,
        min_trades=search.min_trades,
    )
    return UserCode(
        strategy=loaded,
        strategy_name=loaded.name if strategy is None else reference_of(strategy),
        judge=judge,
        # The stored name has no folders: any machine finds the copy in the run.
        objective=search.objective if objective is None else reference_of(objective),
        files=travelling.files,
        requires=travelling.requires,
    )


def _source_of_strategy(strategy: Any) -> UserSource | None:
    """The source of a class or instance from Python; None without one, or for a built-in strategy."""
    if strategy is None or isinstance(strategy, str) or _built_in_name(strategy) is not None:
        # A built-in needs no copy: its source is in the code identity.
        return None
    return user_sources.from_class(_class_of(strategy), STRATEGY)


def _built_in_name(strategy: Any) -> str | None:
    kind = _class_of(strategy)
    if strategy is None or not issubclass(kind, Strategy) or kind.__module__.partition(".")[0] != "lockstep":
        return None
    return str(kind.name)


def _class_of(strategy: Any) -> type:
    return strategy if isinstance(strategy, type) else type(strategy)


def _source_of_function(objective: Any) -> UserSource:
    if not callable(objective) or not hasattr(objective, "__name__"):
        raise InputError(f"an objective is a metric's name or a function of the metrics; found {objective!r}")
    return user_sources.from_class(objective, STRATEGY)


def _function(source: Source) -> Callable[[Mapping[str, float | int | None]], float | None]:
    module = load_module(source)
    objective = getattr(module, source.class_name, None)
    if not callable(objective):
        names = [name for name, item in vars(module).items() if callable(item) and not name.startswith("_")]
        raise InputError(
            f"{source.file_name} has no function {source.class_name!r}.{did_you_mean(source.class_name, names)} An "
            "objective takes a trial's metrics (a mapping from name to number or None) and returns a number"
        )
    return objective  # type: ignore[no-any-return]
