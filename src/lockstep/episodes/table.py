"""Episodes in columns, by id and in ranking; only rows in use become objects.

Their packages lie on a shelf (`episodes.shelf`), in memory or on disk. `episodes.book` adds a folder to the table,
`episodes.collect` fills it from a market.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core import canonical
from lockstep.core.errors import DataError, InputError, IntegrityError, RefusedError, UnknownNameError
from lockstep.core.types import Int
from lockstep.episodes.columns import DTYPES, Numbers, RowsById, Texts
from lockstep.episodes.episode import TrainingEpisode, episode_priority, ranking
from lockstep.episodes.outcomes import OUTCOME_COLUMNS, TrainingOutcome
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.package import DIGEST_PREFIX, ModelInputPackage
from lockstep.episodes.report import CollectionReport
from lockstep.episodes.shelf import PackageShelf

_PIECE: Final = 4_096
_MARK_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Generation:
    """A saved state of a book, to see what others changed in the folder since.

    folder     absolute path
    number     number of the generation, from 1
    counts     training counts of all episodes, int64 (n,)
    validated  number of settled episodes
    """

    folder: Path
    number: int
    counts: NDArray[np.int64]
    validated: int


class EpisodeTable:
    """Episodes by id, in the order in which they were added; about 160 bytes each beside their packages.

    report       counts of the collections that filled the table (`episodes.collect`), or None
    runs         ids of the runs whose use of episodes has been counted
    generation   state of the book's folder when it was opened or saved last (`episodes.store`), or None
    """

    def __init__(self, episodes: Iterable[TrainingEpisode] = (), *, shelf: PackageShelf | None = None) -> None:
        self.report: CollectionReport | None = None
        self.runs: set[str] = set()
        self.generation: Generation | None = None
        self.shelf = shelf
        self._symbols: list[str] = []
        self._numbers = Numbers()
        self._ids, self._predictions = Texts(), Texts()
        self._rows = RowsById(self._ids)
        self._loose: dict[int, ModelInputPackage] = {}
        for episode in episodes:
            self.add(episode)

    def __len__(self) -> int:
        return self._numbers.length

    def __iter__(self) -> Iterator[TrainingEpisode]:
        """All episodes in the order of the book, some thousands at a time."""
        for start in range(0, len(self), _PIECE):
            yield from self.episodes(np.arange(start, min(start + _PIECE, len(self))))

    def __getitem__(self, episode_id: str) -> TrainingEpisode:
        return self.episodes([self._row(episode_id)])[0]

    def __contains__(self, episode_id: str) -> bool:
        return self._rows.find(episode_id.encode()) >= 0

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of all episodes, in the order in which they came; column `symbol` holds places in this tuple."""
        return tuple(self._symbols)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns; packages are not counted."""
        return self._numbers.nbytes + self._ids.nbytes + self._predictions.nbytes + self._rows.nbytes

    def column(self, name: str) -> NDArray[Any]:
        """One of the columns (`episodes.columns.DTYPES`), (n,), read-only, as it is now. Raises UnknownNameError."""
        if name not in DTYPES:
            raise UnknownNameError(f"a book has the columns {', '.join(DTYPES)}; found {name!r}.")
        view = self._numbers[name].view()
        view.flags.writeable = False
        return view

    def scores(self) -> NDArray[np.float64]:
        """profitability_score of validated outcomes, else 0: float64 (n,)."""
        scores, validated = self._numbers["profitability_score"], self._numbers["outcome_validated"]
        return np.where(validated, scores, 0.0)

    def priorities(self) -> NDArray[np.float64]:
        """`episode_priority` of every episode, float64 (n,)."""
        numbers = self._numbers
        rapid, count = numbers["is_rapid_change"].astype(np.float64), numbers["training_count"].astype(np.float64)
        return episode_priority(self.scores(), rapid, numbers["completeness"], count)

    def add(self, episode: TrainingEpisode) -> None:
        """Add an episode. Raises DataError when its id is taken, or its predictions are not JSON."""
        package = episode.package
        row = len(self)
        values: dict[str, Any] = {name: getattr(episode, name) for name in DTYPES if hasattr(episode, name)}
        values |= {name: getattr(episode.outcome, name) for name in OUTCOME_COLUMNS}
        values |= {
            "symbol": self._symbol(episode.symbol),
            "package": -1,
            "package_mark": 0 if package is None else _mark(package.digest),
            "market_return": np.nan if episode.market_return is None else episode.market_return,
            "pivot_class": -1 if episode.pivot_class is None else episode.pivot_class,
        }
        columns = {name: np.array([values[name]], dtype) for name, dtype in DTYPES.items()}
        self.add_columns([episode.episode_id], columns, [dict(episode.predictions)])
        if package is not None:
            self._loose[row] = package

    def add_columns(
        self,
        episode_ids: Sequence[str],
        columns: Mapping[str, NDArray[Any]],
        predictions: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add n episodes at once: n ids, every column of `DTYPES` (n,), n predictions.

        Raises DataError when lengths differ, an id is taken, or predictions are not JSON; then nothing has changed.
        """
        encoded = [episode_id.encode() for episode_id in episode_ids]
        lengths = {len(encoded), len(predictions), *(columns[name].shape[0] for name in DTYPES)}
        if len(lengths) != 1:
            raise DataError(f"every episode has an id, predictions and all columns; found lengths {sorted(lengths)}.")
        try:
            encoded_predictions = [canonical.dumps(item) for item in predictions]
        except TypeError as error:
            raise DataError(f"predictions are numbers and text by name, as JSON has them: {error}.") from error
        # First what may refuse, and after it only what cannot: a failure leaves no half of an episode.
        self._rows.add(encoded, len(self))
        self._ids.extend(encoded)
        self._predictions.extend(encoded_predictions)
        self._numbers.extend(columns, len(encoded))

    def symbol_code(self, symbol: str) -> int:
        """The place of a symbol in `symbols`, where a new one is added. Raises DataError beyond 65,536 symbols."""
        return self._symbol(symbol)

    def settle(self, episode_id: str, outcome: TrainingOutcome, market_return: float | None = None) -> TrainingEpisode:
        """Enter the outcome of an episode; returns it. Raises UnknownNameError, RefusedError where it is settled."""
        row = self._row(episode_id)
        outcome = self._outcome(row).replaced_by(outcome)
        for name in OUTCOME_COLUMNS:
            self._numbers[name][row] = getattr(outcome, name)
        if market_return is not None:
            self._numbers["market_return"][row] = market_return
        return self.episodes([row])[0]

    def settle_rows(self, rows: ArrayLike, columns: Mapping[str, NDArray[Any]]) -> None:
        """Enter the outcomes of many rows, int64 (k,): validated ones in columns (k,), `market_return` too.

        Raises RefusedError where one of the rows is settled already; then nothing has changed.
        """
        which = np.asarray(rows, np.int64)
        if self._numbers["outcome_validated"][which].any():
            raise RefusedError("a validated outcome never changes; one of these rows has one. Leave it out.")
        for name in (*OUTCOME_COLUMNS, "market_return"):
            self._numbers[name][which] = columns[name]

    def set_pivots(self, rows: ArrayLike, classes: ArrayLike) -> None:
        """Enter the pivot classes of some rows' decision bars, (k,): 0, 1, 2, or -1 while that is unknown."""
        self._numbers["pivot_class"][np.asarray(rows, np.int64)] = classes

    def count_rows(self, rows: ArrayLike, times: int = 1) -> None:
        """Count a use of these rows in training, `times` for each time that a row is named."""
        # add.at, because plain indexing counts a row that is named twice once.
        np.add.at(self._numbers["training_count"], np.asarray(rows, np.int64), times)

    def count_run(self, run_id: str, times: Mapping[str, int]) -> None:
        """Count how often a run trained on each episode, by id; a second call for the same run changes nothing.

        Episodes that the book does not have are left out.
        """
        if run_id in self.runs:
            return
        for episode_id, count in times.items():
            row = self._rows.find(episode_id.encode())
            if row >= 0:
                self._numbers["training_count"][row] += count
        self.runs.add(run_id)

    def ranked_rows(self, symbol: str | None = None, *, limit: int | None = None) -> Int:
        """Rows (of one symbol) by priority, highest first (R9.9, R9.10): int64 (k,).

        Raises InputError for a negative limit.
        """
        rows = np.arange(len(self))
        if symbol is not None:
            rows = np.flatnonzero(self._of_symbol(symbol))
        return self._ordered(rows)[: _limit(limit)]

    def ranked(self, symbol: str | None = None, *, limit: int | None = None) -> list[TrainingEpisode]:
        """Episodes (of one symbol) by priority, highest first (R9.9, R9.10), as `ranked_rows` has them."""
        return self.episodes(self.ranked_rows(symbol, limit=limit))

    def profitable_rows(self, symbol: str, *, min_profitability: float = 0.7, max_episodes: int | None = 500) -> Int:
        """Rows of the symbol's validated episodes with at least this score, best score first, then as ranked (R9.19).

        Raises InputError when the score is not in [0, 1], or a number of episodes is negative.
        """
        if not 0.0 <= min_profitability <= 1.0:
            raise InputError(f"min_profitability is a score in [0, 1]; found {min_profitability!r}.")
        limit = _limit(max_episodes)
        scores = self.scores()
        chosen = self._of_symbol(symbol) & self._numbers["outcome_validated"] & (scores >= min_profitability)
        rows = self._ordered(np.flatnonzero(chosen))
        # The sort is stable: equal scores stay as they are ranked.
        return rows[np.argsort(-scores[rows], kind="stable")][:limit]

    def profitable(
        self, symbol: str, *, min_profitability: float = 0.7, max_episodes: int | None = 500
    ) -> list[TrainingEpisode]:
        """The episodes of `profitable_rows` as objects, their packages read from the shelf. Raises InputError."""
        return self.episodes(
            self.profitable_rows(symbol, min_profitability=min_profitability, max_episodes=max_episodes)
        )

    def ids(self, rows: ArrayLike) -> list[str]:
        """The ids of some rows, int64 (k,), in that order."""
        return [self._ids[row] for row in np.asarray(rows, np.int64).tolist()]

    def episodes(self, rows: ArrayLike) -> list[TrainingEpisode]:
        """Some rows as objects, their packages read from the shelf. Raises IntegrityError for a damaged package."""
        which = np.asarray(rows, np.int64).tolist()
        packages: dict[int, ModelInputPackage] = {row: self._loose[row] for row in which if row in self._loose}
        for places, batch in self.batches(rows):
            for place, package in zip(places.tolist(), batch.packages(), strict=True):
                packages[which[place]] = package
        return [self._episode(row, packages.get(row)) for row in which]

    def batches(self, rows: ArrayLike) -> Iterator[tuple[Int, PackageBatch]]:
        """The packages of some rows that lie on the shelf, piece by piece: places in `rows`, and the packages.

        Raises IntegrityError when a package is damaged, or not the one that was put there for its episode.
        """
        which = np.asarray(rows, np.int64)
        place = self._numbers["package"][which]
        there = np.flatnonzero(place >= 0)
        if not there.size or self.shelf is None:
            return
        marks = self._numbers["package_mark"][which]
        for places, batch in self.shelf.taken(place[there]):
            # A sound package may still be another one, when book and packages come from different copies.
            if batch.digest is None or not np.array_equal(package_marks(batch.digest), marks[there[places]]):
                raise IntegrityError(
                    "the packages on the shelf are not those of the book's episodes. They are not used; put book and "
                    "packages back from one copy."
                )
            yield there[places], batch

    @property
    def loose(self) -> Mapping[int, ModelInputPackage]:
        """Packages on no shelf, by row: those of episodes added with their package since the last save."""
        return self._loose

    def check_valid(self) -> None:
        """Raises DataError when ids and rows do not fit each other, or a number is outside of its range."""
        self._rows.check_valid()
        for name in ("completeness", "profitability_score"):
            column = self._numbers[name]
            bad = np.flatnonzero(~((column >= 0.0) & (column <= 1.0)))
            if bad.size:
                raise DataError(f"the book's row {int(bad[0])}: {name} is in [0, 1]; found {column[bad[0]]!r}.")

    def shelve(self, shelf: PackageShelf) -> None:
        """Read all packages from this shelf from now on; it must hold those that came with their episodes too."""
        self.shelf, self._loose = shelf, {}

    def restore(self, columns: Mapping[str, NDArray[Any]], texts: Mapping[str, tuple[NDArray[np.uint8], Int]]) -> None:
        """Add stored rows: every column of `DTYPES`, (k,), and the bytes and lengths (k,) of ids and predictions."""
        first, joined, at = len(self), texts["episode_id"][0].tobytes(), 0
        ids = []
        for length in texts["episode_id"][1].tolist():
            ids.append(joined[at : at + length])
            at += length
        self._rows.add(ids, first)
        self._ids.extend_joined(*texts["episode_id"])
        self._predictions.extend_joined(*texts["predictions"])
        self._numbers.extend(columns, len(ids))

    def parts(self) -> tuple[Numbers, Texts, Texts]:
        """The columns of numbers, ids and predictions, for `episodes.store`."""
        return self._numbers, self._ids, self._predictions

    def in_folder(self, folder: Path, number: int) -> Generation:
        """The table as it is now, described as generation `number` of a folder."""
        counts, settled = self.column("training_count").copy(), self.column("outcome_validated")
        return Generation(folder=folder.absolute(), number=number, counts=counts, validated=int(settled.sum()))

    def _episode(self, row: int, package: ModelInputPackage | None) -> TrainingEpisode:
        at = {name: self._numbers[name][row].item() for name in DTYPES}
        return TrainingEpisode(
            episode_id=self._ids[row],
            symbol=self._symbols[at["symbol"]],
            package=package,
            predictions=canonical.loads(self._predictions.encoded(row)),
            outcome=self._outcome(row),
            is_rapid_change=at["is_rapid_change"],
            training_count=at["training_count"],
            created_at=at["created_at"],
            completeness=at["completeness"],
            market_return=None if np.isnan(at["market_return"]) else at["market_return"],
            pivot_class=None if at["pivot_class"] < 0 else at["pivot_class"],
        )

    def _outcome(self, row: int) -> TrainingOutcome:
        return TrainingOutcome(**{name: self._numbers[name][row].item() for name in OUTCOME_COLUMNS})

    def _row(self, episode_id: str) -> int:
        row = self._rows.find(episode_id.encode())
        if row < 0:
            raise UnknownNameError(f"no episode has the id {episode_id!r}; the book has {len(self)} episodes.")
        return row

    def _symbol(self, symbol: str) -> int:
        if symbol not in self._symbols:
            if len(self._symbols) > np.iinfo(np.uint16).max:
                raise DataError("a book holds at most 65,536 symbols. Begin another.")
            self._symbols.append(symbol)
        return self._symbols.index(symbol)

    def _of_symbol(self, symbol: str) -> NDArray[np.bool_]:
        if symbol not in self._symbols:
            return np.zeros(len(self), np.bool_)
        return np.asarray(self._numbers["symbol"] == self._symbols.index(symbol))

    def _ordered(self, rows: Int) -> Int:
        """Rows by priority, as `ranking` orders them. Ids decide between equal priority and time."""
        priority, created = self.priorities()[rows], self._numbers["created_at"][rows]
        order = ranking(priority, created)
        level, time = priority[order], created[order]
        # Only tied rows are read as texts: a million ids would be a million objects.
        tied = np.flatnonzero((level[1:] == level[:-1]) & (time[1:] == time[:-1]))
        for group in np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1):
            if group.size:
                places = slice(int(group[0]), int(group[-1]) + 2)
                order[places] = sorted(order[places].tolist(), key=lambda place: self._ids.encoded(int(rows[place])))
        return rows[order]


def _mark(digest: str) -> int:
    """The first bytes of a package's digest, as the column `package_mark` has them; 0 for what is no digest."""
    try:
        return int.from_bytes(bytes.fromhex(digest.removeprefix(DIGEST_PREFIX))[:_MARK_BYTES], "little")
    except ValueError:
        return 0


def package_marks(digest: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first bytes of a batch's digests (n, 32), as the column `package_mark` has them: uint64 (n,)."""
    return np.ascontiguousarray(digest[:, :_MARK_BYTES]).view("<u8").reshape(-1)


def _limit(limit: int | None) -> int | None:
    """`limit`, checked. Raises InputError for a negative one, which a slice would read as counted from the end."""
    if limit is not None and limit < 0:
        raise InputError(f"a number of episodes is not negative; found {limit}.")
    return limit
