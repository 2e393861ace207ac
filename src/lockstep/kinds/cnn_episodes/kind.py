"""`kind = "cnn-episodes"`: a network with three heads trained on profitable episodes, as a run (R9.18).

`CNNTrainer` trains through this kind too: with the same episodes, network and settings, the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.core.errors import DataError, InputError
from lockstep.core.libraries import require
from lockstep.episodes.book import EpisodeBook
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.kinds.cnn_episodes.spec import EpisodesSpec
from lockstep.kinds.shared import network_code
from lockstep.kinds.shared.retraining import BATCH_KEYS
from lockstep.runs.kind import Kind, PrepareContext, Prepared, RunContext

if TYPE_CHECKING:
    from lockstep.kinds.cnn_episodes.data import PinnedEpisodes
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import Estimate
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training

GIVEN: Final = "data.episodes"
"""Key of an `EpisodeBook` in `PrepareContext.python_objects`."""
BOOK_FOLDER: Final = "episodes"
"""Where a home keeps its book of episodes."""
NETWORKS: Final = {"pattern-cnn": "lockstep.learning.patterns.networks:PatternCNN"}


@dataclass(frozen=True, kw_only=True)
class _Payload:
    pinned: PinnedEpisodes
    network: NetworkCode


class EpisodesKind:
    """As `runs.registry` knows it."""

    name: Final = "cnn-episodes"
    spec_model: Final = EpisodesSpec
    sample_keys: Final = ("data", "episodes", "scaling", *BATCH_KEYS)
    """What decides the samples of a session (`session_replay.ReplaysSessions`)."""

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Choose the episodes, pin what they teach, make the network once.

        `context.python_objects` may hold a book ("data.episodes") and a network ("network.name"). Raises the InputError
        tree, MissingLibraryError without torch, MachineError for a card that is not there.
        """
        _require_torch()
        from lockstep.kinds.cnn_episodes.training import scaling_of, told
        from lockstep.learning.gradients.determinism import resolve_device

        wanted = cast("EpisodesSpec", spec)
        book, origin = _book(wanted, context)
        pinned = episodes_data.pin(wanted.episodes, book, context.snapshots, origin)
        if wanted.scaling.mean and len(wanted.scaling.mean) != pinned.features:
            raise InputError(
                f"scaling.mean has one number for each of {pinned.features} features; found {len(wanted.scaling.mean)}."
            )
        network = network_code.from_user(wanted.network, context, NETWORKS)
        table = wanted.network.model_copy(update={"name": network.name})
        chosen = wanted.episodes.model_copy(update={"window": pinned.window})
        device = resolve_device(wanted.device)
        scaling = wanted.scaling if wanted.scaling.mean else scaling_of(pinned)
        wanted = wanted.model_copy(update={"device": device, "network": table, "episodes": chosen, "scaling": scaling})
        estimate, notes = told(network, pinned, wanted, context)
        return _prepared(wanted, pinned, network, notes=notes, estimate=estimate)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home."""
        _require_torch()
        wanted = cast("EpisodesSpec", spec)
        pinned = episodes_data.restore(folder.read("data"), context.snapshots)
        network = network_code.from_run(wanted.network, folder, context, NETWORKS)
        wanted = wanted.model_copy(update={"network": wanted.network.model_copy(update={"name": network.name})})
        return _prepared(wanted, pinned, network)

    def try_network(self, prepared: Prepared) -> None:
        """Ask the network for its heads (`session_replay.ReplaysSessions`). Raises NetworkError."""
        from lockstep.kinds.cnn_episodes.training import check_network

        payload = cast("_Payload", prepared.payload)
        check_network(payload.network, payload.pinned, cast("EpisodesSpec", prepared.spec))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        from lockstep.kinds.cnn_episodes.training import training_of

        payload = cast("_Payload", prepared.payload)
        spec = cast("EpisodesSpec", prepared.spec)
        return training_of(spec, payload.pinned, payload.network, context.home)


KIND: Final[Kind] = EpisodesKind()


def _book(spec: EpisodesSpec, context: PrepareContext) -> tuple[EpisodeBook, dict[str, Any]]:
    given = context.python_objects.get(GIVEN)
    if given is not None:
        if not isinstance(given, EpisodeBook):
            raise InputError(f"episodes are given as an EpisodeBook; found {type(given).__name__}.")
        return given, {"source": "python"}
    if spec.data.source == "python":
        raise DataError(
            'data.source = "python" stands for a book that was given in Python: give it again, or name its folder with '
            "data.path."
        )
    path = context.home / BOOK_FOLDER
    if spec.data.path is not None:
        path = Path(spec.data.path).expanduser()
        path = path if path.is_absolute() else context.base / path
    return EpisodeBook.open(path), {"source": "folder", "path": str(path)}


def _prepared(
    spec: EpisodesSpec,
    pinned: PinnedEpisodes,
    network: NetworkCode,
    *,
    notes: tuple[str, ...] = (),
    estimate: Estimate | None = None,
) -> Prepared:
    from lockstep.learning.gradients.determinism import numerics_entries

    note = (
        f"{len(pinned):,} of {pinned.available:,} episodes of {spec.episodes.symbol} with a score of at least "
        f"{spec.episodes.min_profitability:g}, windows of {pinned.window} bars"
    )
    return Prepared(
        spec=spec,
        data=network.pinned(pinned.body()),
        code=network.identity(),
        payload=_Payload(pinned=pinned, network=network),
        origin=pinned.origin,
        numerics=numerics_entries(spec.device),
        notes=(note, *notes),
        estimate=estimate,
    )


def _require_torch() -> None:
    require("torch", extra="ml", purpose='kind = "cnn-episodes"')
