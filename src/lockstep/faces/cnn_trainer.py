"""CNNTrainer: train a model object on the profitable episodes of a book, each time as a recorded run.

    trainer = CNNTrainer(model)
    training = trainer.train_on_profitable_episodes("BTC/USDT", min_profitability=0.7, max_episodes=500)
    training.status, training.session_id, training.value

A face of `lockstep train` with `kind = "cnn-episodes"` and of `lockstep resume`: it trains nothing itself. It hands
model and book to the run, and loads the trained weights into the model afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.app.episode_result import episode_result
from lockstep.bootstrap import place
from lockstep.core.errors import InputError
from lockstep.episodes.book import EpisodeBook, changing
from lockstep.episodes.store import INDEX
from lockstep.kinds.cnn_episodes.data import BOOK_FOLDER, check_symbol, few_episodes, no_episodes
from lockstep.public import resume, train

if TYPE_CHECKING:
    from torch import nn

    from lockstep.runs.results import TrainResult

COMPLETE: Final = "complete"
NO_EPISODES: Final = "no_episodes"


@dataclass(frozen=True, kw_only=True)
class EpisodeTraining:
    """What a call of `train_on_profitable_episodes` did (R9.18).

    status              "complete", or "no_episodes": then nothing was trained, and what follows is empty
    episodes_available  validated episodes of the symbol at or above the threshold
    episodes_used       those that were trained on
    steps               optimiser updates
    mean_losses         by part: total, classification, regression, confidence
    session_id          the run: for `lockstep resume`, `verify`, `replay`, and `ls.sessions`
    value, converged    of the run (formulas in `docs/replay.md`)
    folder              of the run
    note                why nothing was trained, or that it was little, in a sentence; else empty
    """

    status: str
    symbol: str
    episodes_available: int
    episodes_used: int
    steps: int = 0
    mean_losses: Mapping[str, float] = field(default_factory=dict)
    session_id: str | None = None
    value: float | None = None
    converged: bool | None = None
    folder: Path | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the folder as text."""
        return {**asdict(self), "folder": None if self.folder is None else str(self.folder)}


class CNNTrainer:
    """Trains `model`, any module that returns the three heads, on episodes.

    model        a torch.nn.Module; afterwards it holds the trained weights
    episodes     a book, or the folder of one; by default `episodes` of the home. The book counts what was trained on;
                 one that came from a folder is saved there
    home         folder of runs; default LOCKSTEP_HOME, else ./lockstep-home
    parameters   keyword arguments with which the model's class makes a model of this shape, beside channels, window
                 and classes; a `PatternCNN` brings its own
    seed         of the run; training starts from the model's own weights
    settings     further tables of the spec: training, recording, episodes, numerics ... (`docs/episodes.md`)

    Later runs keep the scaling of the first, because the weights were trained under it.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        episodes: EpisodeBook | Path | str | None = None,
        home: Path | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int = 42,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.scaling: Mapping[str, Any] | None = None
        self._home, self._seed = home, seed
        self._parameters = _parameters_of(model) if parameters is None else dict(parameters)
        self._settings = dict(settings or {})
        if episodes is not None and not isinstance(episodes, EpisodeBook | Path | str):
            raise InputError(f"episodes is a book or its folder; found {type(episodes).__name__}.")
        self._episodes = episodes
        self._folder = None if isinstance(episodes, EpisodeBook) else self._book_folder(episodes)

    def train_on_profitable_episodes(
        self, symbol: str, min_profitability: float = 0.7, max_episodes: int = 500
    ) -> EpisodeTraining:
        """Train one run on the symbol's validated episodes of at least this score: the best `max_episodes` of them.

        Where there is no such episode the model does not change by a byte. Raises UnknownNameError for a symbol that
        the book has no episode of, though it has some of others; any LockstepError; Interrupted after Ctrl-C (`resume`
        goes on), with the model as before. The run trains a copy, so the object may be used meanwhile.
        At the very end its tensors take the new values; its mode, flags and device stay.
        """
        book = self._book()
        check_symbol(book, symbol)
        # Checks the arguments too, before anything is made.
        available = book.profitable_rows(symbol, min_profitability=min_profitability, max_episodes=None).size
        if max_episodes < 1:
            raise InputError(f"max_episodes is a whole number of at least 1; found {max_episodes!r}.")
        if available == 0:
            note = no_episodes(book, symbol, min_profitability)
            return EpisodeTraining(status=NO_EPISODES, symbol=symbol, episodes_available=0, episodes_used=0, note=note)
        chosen = {"symbol": symbol, "min_profitability": float(min_profitability), "max_episodes": max_episodes}
        spec: dict[str, Any] = {**self._settings, "kind": "cnn-episodes", "seed": self._seed}
        spec["episodes"] = {**self._settings.get("episodes", {}), **chosen}
        spec["network"] = {"parameters": self._parameters}
        if self.scaling is not None:
            spec["scaling"] = dict(self.scaling)
        return self._taken_over(train(spec, network=self.model, episodes=book, home=self._home))

    def resume(self, run: str = "last") -> EpisodeTraining:
        """Go on with a run that was stopped or killed; weights and counts are then those of an uninterrupted run.

        The weights of a complete run are loaded without training; the book counts every run once.
        """
        return self._taken_over(resume(run, home=self._home))

    def _taken_over(self, result: TrainResult) -> EpisodeTraining:
        """Load the weights into the model, count in the book, and report to the caller."""
        from lockstep.learning.gradients.training import load_model_arrays

        learned = episode_result(result.run_id, place(self._home).store)
        load_model_arrays(self.model, learned.weights)
        self.scaling = result.spec["scaling"]
        if self._folder is None:
            self._book().count_run(result.run_id, learned.trained)
        elif (self._folder / INDEX).exists():
            # Opened anew: another process may have added episodes during a long training.
            with changing(self._folder) as book:
                book.count_run(result.run_id, learned.trained)
        summary = result.summary
        return EpisodeTraining(
            status=COMPLETE,
            symbol=summary["episodes"]["symbol"],
            episodes_available=summary["episodes"]["available"],
            episodes_used=summary["episodes"]["used"],
            steps=summary["steps"],
            mean_losses=learned.losses,
            session_id=result.run_id,
            value=summary["value"],
            converged=summary["converged"],
            folder=result.folder,
            note=few_episodes(summary["episodes"]["used"]),
        )

    def _book(self) -> EpisodeBook:
        if isinstance(self._episodes, EpisodeBook):
            return self._episodes
        folder = self._folder
        if self._episodes is None and folder is not None and not (folder / INDEX).exists():
            return EpisodeBook()  # nobody has collected episodes in this home yet
        return EpisodeBook.open(folder if folder is not None else "")

    def _book_folder(self, folder: Path | str | None) -> Path:
        return place(self._home).store.home / BOOK_FOLDER if folder is None else Path(folder).expanduser()


def _parameters_of(model: Any) -> dict[str, Any]:
    """Keyword arguments of a `PatternCNN`, which knows its shape; none for a model whose shape the data decide."""
    shape = getattr(model, "shape", None)
    if (
        type(model).__module__ == "lockstep.learning.patterns.networks"
        and is_dataclass(shape)
        and not isinstance(shape, type)
    ):
        return {name: list(item) if isinstance(item, tuple) else item for name, item in asdict(shape).items()}
    return {}
