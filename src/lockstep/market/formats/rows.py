"""Rows that no line names: what their columns are, where the rows themselves leave no other answer.

A reading is taken only where in the sampled rows high is the highest and low the lowest price, and no other order of
the prices fits them as well; open and close are told apart by the bar before. Of an amount of pieces and one of money,
the pieces are those by which the money is a price of the bar.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Final

from lockstep.market.formats.cells import is_clock, is_date, is_epoch, is_time

KLINES: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_USUAL: Final = ("open", "high", "low", "close")
# KuCoin and Bitfinex; Coinbase.
_OTHERS: Final = (("open", "close", "high", "low"), ("low", "high", "open", "close"))
_GATE: Final = ("timestamp", "quote_volume", "close", "high", "low", "open", "volume", "closed")
# One broken bar is for the rules of candles to name.
_ENOUGH: Final = 0.9
# Bars from which on it is seen whether they open at the last close, as those of a market that trades without a pause
# do, and how many of them have to close elsewhere than they opened.
_NEIGHBOURS: Final = 20
_MOVES: Final = 8
_SWAPPED: Final = {"open": "close", "close": "open"}
_SORTED: Final = re.compile(r"\d{4}([-./]?)\d{2}\1\d{2}([ T]\d{2}:?\d{2}(:?\d{2}([.,]\d+)?)?Z?)?")
"""Dates and times of day whose texts, of one length, have the order of time."""
Sample = Sequence[Sequence[str]]


def names_of_rows(sample: Sample) -> tuple[str, ...] | None:
    """The columns of rows that no line names; None where nothing decides.

    sample   the cells of the first rows, of one width
    """
    if not sample:
        return None
    first = [cell.strip() for cell in sample[0]]
    width = len(first)
    if width >= 2 and is_date(first[0]) and is_clock(first[1]):
        rest = {6: (), 7: ("volume",), 8: ("volume", "spread"), 9: ("volume", "real_volume", "spread")}.get(width)
        if rest is None or _share(sample, ("date", "time", *_USUAL, *rest)) < _ENOUGH:
            return None
        return ("date", "time", *_of_neighbours(joined_time(sample), _USUAL), *rest)
    if not (is_epoch(first[0]) or is_time(first[0])) or width < 5:
        return None
    if width == 8 and all(row[7].strip().lower() in ("true", "false") for row in sample):
        return _GATE if _share(sample, _GATE) >= _ENOUGH else None
    order = _order(sample)
    if order is None:
        return None
    rest = _rest(sample, is_epoch(first[0]))
    return None if rest is None else ("timestamp", *order, *rest) if rest != KLINES[5:] else (KLINES[0], *order, *rest)


def _order(sample: Sample) -> tuple[str, ...] | None:
    """The order of the four prices behind the time."""
    shares = {order: _share(sample, ("timestamp", *order)) for order in (_USUAL, *_OTHERS)}
    fitting = [order for order, share in shares.items() if share >= _ENOUGH]
    if len(fitting) > 1:
        best = max(shares.values())
        fitting = [order for order in fitting if shares[order] == best]
        if len(fitting) > 1 and not _are_alike(sample, fitting):
            return None
    return _of_neighbours(sample, fitting[0]) if fitting else None


def _of_neighbours(sample: Sample, order: tuple[str, ...]) -> tuple[str, ...]:
    """The order, with open and close changed where the bars follow one another so and not as they stand.

    High and low tell nothing of the two: a bar is as good the other way round. But most bars open near the last close.
    """
    gaps = _gaps(sample, order)
    if gaps is None or len(sample) < _NEIGHBOURS or gaps[1] >= 0.5 * gaps[0]:
        return order
    opens, closes = (1 + order.index(name) for name in ("open", "close"))
    if sum(row[opens].strip() != row[closes].strip() for row in sample) < _MOVES:
        return order
    return tuple(_SWAPPED.get(name, name) for name in order)


def joined_time(sample: Sample) -> list[list[str]]:
    """Rows whose first two cells, a date and a time of day, are one."""
    return [[f"{row[0].strip()} {row[1].strip()}", *row[2:]] for row in sample]


def note_on_opens(sample: Sample, names: Sequence[str]) -> str | None:
    """What is to be said of how open and close were told apart in rows without names; None where that is proven.

    sample   rows whose first cell is the whole time
    names    of their columns
    """
    if not {*_USUAL} <= set(names) or not sample:
        return None
    order = tuple(name for name in names if name in _USUAL)
    if tuple(_SWAPPED.get(name, name) for name in order) in (_USUAL, *_OTHERS) and order not in (_USUAL, *_OTHERS):
        return f"prices in the order {', '.join(order)}: so each bar opens near the close before it"
    start = next(at for at, name in enumerate(names) if name in _USUAL)
    gaps = _gaps([[row[0], *row[start : start + 4]] for row in sample], order)
    if gaps is None:
        return "open and close taken in the usual order"
    if gaps[0] < 0.9 * gaps[1]:
        return None
    return "open and close taken in the usual order: these rows would fit the other way round as well"


def _gaps(sample: Sample, order: tuple[str, ...]) -> tuple[float, float] | None:
    """How far bars open from the close before them, in sum, as they are read and with open and close changed.

    None where the direction of the times cannot be seen, or a price is none.
    """
    opens, closes = (1 + order.index(name) for name in ("open", "close"))
    direction = _direction([row[0].strip() for row in sample])
    try:
        bars = [(float(_plain(row[opens])), float(_plain(row[closes]))) for row in sample]
    except ValueError:
        return None
    if direction is None:
        return None
    pairs = list(itertools.pairwise(bars if direction > 0 else reversed(bars)))
    read = sum(abs(after[0] - before[1]) for before, after in pairs)
    changed = sum(abs(after[1] - before[0]) for before, after in pairs)
    return read, changed


def _direction(cells: Sequence[str]) -> int | None:
    """1 where times rise, -1 where they fall; None where neither is seen.

    Texts are compared only where their digits are the order of time: 2023-9-5 and 11:30 AM are none such.
    """
    if all(map(is_epoch, cells)):
        times: Sequence[float] | Sequence[str] = [float(cell) for cell in cells]
    elif all(_SORTED.fullmatch(cell) for cell in cells) and len({len(cell) for cell in cells}) == 1:
        times = cells
    else:
        return None
    steps = {1 if after > before else -1 for before, after in itertools.pairwise(times) if after != before}  # type: ignore[operator]
    return steps.pop() if len(steps) == 1 else None


def _are_alike(sample: Sample, orders: Sequence[tuple[str, ...]]) -> bool:
    """Whether several orders of the prices give the same bars."""
    bars = [[{name: row[1 + at] for at, name in enumerate(order)} for row in sample] for order in orders]
    return all(other == bars[0] for other in bars[1:])


def _rest(sample: Sample, is_number: bool) -> tuple[str, ...] | None:
    """The columns behind the prices, by their number and what stands in them."""
    rest: tuple[str, ...] | None = None
    width = len(sample[0])
    if width in (5, 6):
        rest = ("volume",)[: width - 5]
    elif not is_number:
        rest = None
    elif width == 7:
        rest = _pieces(sample, (5, 6)) or (("volume", "trades") if _are_trades(sample) else None)
    elif width == 8 and all(_is_mean(row) and _is_count(row[7]) for row in sample):
        rest = ("vwap", "volume", "trades")
    elif width == 8 and all(_follows(row[0], row[6]) for row in sample):
        rest = ("volume", "close_time", "quote_volume")
    elif width == 8:
        pieces = _pieces(sample, (5, 6))
        rest = None if pieces is None else (*pieces, "quote_volume (2)")
    elif width == 9 and all(row[8].strip() in ("0", "1") for row in sample):
        # OKX: of a future the first counts contracts.
        pieces = _pieces(sample, (6, 7))
        spot = _pieces(sample, (5, 7))
        if spot is not None:
            rest = ("volume", "quote_volume", "quote_volume (2)", "confirm")
        elif pieces is not None:
            rest = ("contracts", *pieces, "confirm")
    elif width == 12 and all(_follows(row[0], row[6]) for row in sample):
        rest = KLINES[5:]
    return rest


def _are_trades(sample: Sample) -> bool:
    """Whether the last two of seven columns can only be a volume and a count of trades.

    Not where the volume may be a price (a mean, an adjusted close), where both count, or where one may be the money of
    the other.
    """
    try:
        numbers = [[float(cell) for cell in row[1:7]] for row in sample]
    except ValueError:
        return False
    if not all(_is_count(row[6]) for row in sample) or all(_is_count(row[5]) for row in sample):
        return False
    prices = sum(0.9 * min(row[:4]) <= row[4] <= 1.1 * max(row[:4]) for row in numbers)
    money = sum(
        row[4] > 0 and row[5] > 0 and any(0.9 * min(row[:4]) <= share <= 1.1 * max(row[:4]) for share in
        (row[5] / row[4], row[4] / row[5])) for row in numbers
    )  # fmt: skip
    return max(prices, money) < 0.5 * len(numbers)


def _pieces(sample: Sample, places: tuple[int, int]) -> tuple[str, str] | None:
    """Which of two columns counts pieces and which money; None where neither is so."""
    names = of_pieces([row[places[0]] for row in sample], [row[places[1]] for row in sample], sample)
    return None if names is None else ("volume", "quote_volume") if names == 0 else ("quote_volume", "volume")


def of_pieces(one: Sequence[object], other: Sequence[object], sample: Sample | Mapping[str, object]) -> int | None:
    """Which of two amounts counts pieces, 0 or 1: the other one divided by it is a price of the bar.

    sample   the rows, whose prices stand at 1 to 4 in any order; or columns "high" and "low"

    None where neither is, or nothing was traded.
    """
    fits = pieces_shares(one, other, sample)
    if fits is None or fits[0] == fits[1]:
        return None
    best = 0 if fits[0] > fits[1] else 1
    return best if fits[best] >= _ENOUGH else None


def pieces_shares(
    one: Sequence[object], other: Sequence[object], sample: Sample | Mapping[str, object]
) -> tuple[float, float] | None:
    """The shares of rows by which either of two amounts counts pieces, as for `of_pieces`; None without a trade.

    Both are high where a piece costs about 1, as stablecoins do.
    """
    fits = [0, 0]
    traded = 0
    for row, (left, right) in enumerate(zip(one, other, strict=True)):
        try:
            first, second = float(str(left)), float(str(right))
            if isinstance(sample, Mapping):
                prices = [float(str(sample[name][row])) for name in ("high", "low")]  # type: ignore[index]
            else:
                prices = [float(cell) for cell in sample[row][1:5]]
        except (ValueError, TypeError):
            return None
        if first <= 0 or second <= 0:
            continue
        traded += 1
        # The mean price of a bar, rounded, lies between its lowest and its highest.
        low, high = min(prices) * 0.999, max(prices) * 1.001
        fits[0] += low <= second / first <= high
        fits[1] += low <= first / second <= high
    return (fits[0] / traded, fits[1] / traded) if traded else None


def _is_count(cell: str) -> bool:
    return cell.strip().removesuffix(".0").isdigit()


def _is_mean(row: Sequence[str]) -> bool:
    """Whether the sixth cell is a mean price of the bar, or 0 where nothing was traded."""
    try:
        high, low, mean = (float(row[at]) for at in (2, 3, 5))
    except ValueError:
        return False
    return mean == 0 or low <= mean <= high


def _follows(open_time: str, close_time: str) -> bool:
    return is_epoch(open_time) and is_epoch(close_time) and float(close_time) > float(open_time)


def _share(sample: Sample, names: Sequence[str]) -> float:
    """The share of rows in which high is the highest and low the lowest price; 0 where rows of one price prove none."""
    places = [names.index(name) for name in _USUAL]
    try:
        rows = [[float(_plain(row[at])) for at in places] for row in sample]
    except ValueError:
        return 0.0
    if not any(high > low for _, high, low, _ in rows):
        return 0.0
    return sum(low <= min(first, last) and high >= max(first, last) for first, high, low, last in rows) / len(rows)


def _plain(cell: str) -> str:
    text = cell.strip()
    return text.replace(",", "") if "." in text else text.replace(",", ".")
