"""Many packages at once: columns instead of objects; hashed and validated at tens of thousands a second.

`PackageBatch` holds the same packages as a list of `ModelInputPackage`, field by field, and gives the same hashes,
completeness and flags to the last bit; `package(i)` makes the object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.core.units import parse_timeframe
from lockstep.episodes.packages.layout import PackageLayout, Pool, Shape, pool_of, timeframe_of
from lockstep.episodes.packages.package import (
    DEFAULT_RULES,
    DIGEST_PREFIX,
    FIELDS,
    FLAGS,
    STAMPED,
    ModelInputPackage,
    PackageRules,
    canonical_parts,
)
from lockstep.episodes.packages.pool import Ranges, joined
from lockstep.market.checks import MAX_TIMESTAMP

_PLAIN: Final = ("timestamp", "symbol", "current_price", "has_price", "is_rapid_change")
MD5_BYTES: Final = 16
BLAKE3_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class PackageBatch:
    """n packages of one layout, in columns; read-only.

    layout           symbols and columns
    timestamp        int64 (n,), milliseconds UTC
    symbol           uint16 (n,), index into `layout.symbols`
    current_price    float64 (n,), quote currency; of no meaning where `has_price` is false
    has_price        bool (n,), false where the package's price is None
    is_rapid_change  bool (n,), premium examples
    pools            the ranges of every pool of the layout, in its order
    data_hash        uint8 (n, 16), MD5, or None before it was computed
    digest           uint8 (n, 32), BLAKE3, or None before it was computed
    """

    layout: PackageLayout
    timestamp: NDArray[np.int64]
    symbol: NDArray[np.uint16]
    current_price: NDArray[np.float64]
    has_price: NDArray[np.bool_]
    is_rapid_change: NDArray[np.bool_]
    pools: Mapping[str, Ranges]
    data_hash: NDArray[np.uint8] | None = None
    digest: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        n = self.timestamp.shape[0]
        if list(self.pools) != list(self.layout.pools()):
            raise DataError(
                f"a batch has the pools of its layout, {list(self.layout.pools())}; found {list(self.pools)}."
            )
        if np.any(self.symbol >= len(self.layout.symbols)):
            raise DataError(f"a symbol is an index below {len(self.layout.symbols)}; found {int(self.symbol.max())}.")
        columns = {name: getattr(self, name) for name in ("symbol", "current_price", "has_price", "is_rapid_change")}
        columns |= {name: pool.start for name, pool in self.pools.items()}
        if self.data_hash is not None and self.digest is not None:
            columns |= {"data_hash": self.data_hash, "digest": self.digest}
        for name, column in columns.items():
            if column.shape[0] != n:
                raise DataError(f"the columns of a batch have one length, {n}; found {name!r} with {column.shape[0]}.")
        for name in ("timestamp", "symbol", "current_price", "has_price", "is_rapid_change", "data_hash", "digest"):
            column = getattr(self, name)
            if column is not None:
                view = np.ascontiguousarray(column).view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)
        object.__setattr__(self, "pools", MappingProxyType(dict(self.pools)))

    def __len__(self) -> int:
        return int(self.timestamp.shape[0])

    @classmethod
    def from_packages(cls, packages: Sequence[ModelInputPackage], layout: PackageLayout) -> PackageBatch:
        """The packages in columns, their hashes as they claim them.

        Raises DataError when a package does not fit the layout: which, which field, and what was expected.
        """
        for i, package in enumerate(packages):
            _check_head(package, layout, i)
        prices = [package.current_price for package in packages]
        return cls(
            layout=layout,
            timestamp=np.array([package.timestamp for package in packages], np.int64),
            symbol=np.array([layout.symbols.index(str(package.symbol)) for package in packages], np.uint16),
            current_price=np.array([np.nan if price is None else price for price in prices], np.float64),
            has_price=np.array([price is not None for price in prices], np.bool_),
            is_rapid_change=np.array([package.is_rapid_change for package in packages], np.bool_),
            pools={name: _gathered(packages, name, pool) for name, pool in layout.pools().items()},
            data_hash=_claimed([package.data_hash for package in packages], MD5_BYTES),
            digest=_claimed([package.digest.removeprefix(DIGEST_PREFIX) for package in packages], BLAKE3_BYTES),
        )

    def package(self, index: int) -> ModelInputPackage:
        """One package as an object with copies of its rows; its hashes are those it claims, else they are computed."""
        claimed: dict[str, Any] = {}
        if self.data_hash is not None and self.digest is not None:
            claimed = {
                "data_hash": self.data_hash[index].tobytes().hex(),
                "digest": DIGEST_PREFIX + self.digest[index].tobytes().hex(),
            }
        return ModelInputPackage(**self._payload(index), **claimed)

    def packages(self) -> Iterator[ModelInputPackage]:
        """All packages as objects, in order; one at a time, because objects take many times the memory of columns."""
        return (self.package(index) for index in range(len(self)))

    def _payload(self, index: int) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "timestamp": int(self.timestamp[index]),
            "symbol": self.layout.symbols[int(self.symbol[index])],
            "current_price": float(self.current_price[index]) if self.has_price[index] else None,
            "is_rapid_change": bool(self.is_rapid_change[index]),
            "ohlcv_data": None,
        }
        bars = {}
        for name, pool in self.layout.pools().items():
            table = self.pools[name].table(index)
            timeframe = timeframe_of(name)
            if timeframe is not None:
                if table is not None:
                    bars[timeframe] = table
            elif table is None or pool.shape is Shape.TABLE:
                payload[name] = table
            elif pool.shape is Shape.VECTOR:
                payload[name] = table[0]
            else:
                payload[name] = dict(zip(pool.columns, table[0].tolist(), strict=True))
        payload["ohlcv_data"] = bars or None
        return payload

    def take(self, which: Any) -> PackageBatch:
        """The packages of a slice, a mask bool (n,) or row numbers; they share the pools' rows with this batch."""
        return PackageBatch(
            layout=self.layout,
            timestamp=self.timestamp[which],
            symbol=self.symbol[which],
            current_price=self.current_price[which],
            has_price=self.has_price[which],
            is_rapid_change=self.is_rapid_change[which],
            pools={name: pool.take(which) for name, pool in self.pools.items()},
            data_hash=None if self.data_hash is None else self.data_hash[which],
            digest=None if self.digest is None else self.digest[which],
        )

    def compacted(self) -> PackageBatch:
        """The same packages over pools in canonical form (see `pool`)."""
        return self._with(pools={name: pool.compacted() for name, pool in self.pools.items()})

    def hashed(self) -> PackageBatch:
        """The same packages with the hashes of what they hold, whatever they claimed."""
        data_hash, digest = self.hashes()
        return self._with(data_hash=data_hash, digest=digest)

    def _with(self, **changes: Any) -> PackageBatch:
        return PackageBatch(**{**{name: getattr(self, name) for name in self.__dataclass_fields__}, **changes})

    def hashes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """MD5 uint8 (n, 16) and BLAKE3 uint8 (n, 32) of every package's canonical form."""
        n = len(self)
        md5s, blake3s = bytearray(), bytearray()
        for form in self._forms():
            md5s += hashlib.md5(form, usedforsecurity=False).digest()
            blake3s += blake3(form).digest()
        return (
            np.frombuffer(bytes(md5s), np.uint8).reshape(n, MD5_BYTES),
            np.frombuffer(bytes(blake3s), np.uint8).reshape(n, BLAKE3_BYTES),
        )

    def _forms(self) -> Iterator[bytes]:
        """The canonical form of every package: a head known for its shapes, then slices of the pools' memory."""
        heads: dict[tuple[int, ...], bytes] = {}
        # dtypes are the layout's, so the lengths, the symbol and the presence of a price decide a head; most packages
        # share a few, and the canonical JSON is made once for each.
        shapes = np.stack([np.where(pool.there, pool.lengths, -1) for pool in self.pools.values()], axis=1)
        shapes = np.concatenate((shapes, self.symbol[:, None].astype(np.int64), self.has_price[:, None]), axis=1)
        keys = list(map(tuple, shapes.tolist()))
        columns: list[list[Any]] = []
        for name, pool in self.pools.items():
            columns.append(_slices(pool))
            # Bodies follow the payload's sorted names: current_price and is_rapid_change stand here, timestamp last.
            if name == "cob_data":
                prices = np.ascontiguousarray(self.current_price, "<f8").tobytes()
                columns.append(
                    [prices[8 * i : 8 * i + 8] if there else b"" for i, there in enumerate(self.has_price.tolist())]
                )
                columns.append([b"\1" if rapid else b"\0" for rapid in self.is_rapid_change.tolist()])
        times = np.ascontiguousarray(self.timestamp, "<i8").tobytes()
        columns.append([times[8 * i : 8 * i + 8] for i in range(len(self))])
        for i, (key, *bodies) in enumerate(zip(keys, *columns, strict=True)):
            head = heads.get(key)
            if head is None:
                head = heads[key] = canonical_parts(self._payload(i))[0]
            yield b"".join((head, *bodies))

    @cached_property
    def _finite(self) -> dict[str, NDArray[np.bool_]]:
        """For every pool, which packages' rows are all finite (true where there are none), bool (n,)."""
        return {name: pool.count(~np.isfinite(pool.rows).all(axis=1)) == 0 for name, pool in self.pools.items()}

    def present(self) -> dict[str, NDArray[np.bool_]]:
        """For each of the ten fields, in which packages it is present, bool (n,)."""
        # An empty table, or one with a NaN, counts as absent, as `is_present` has it for a single package.
        everywhere = np.ones(len(self), np.bool_)
        full = {name: (pool.lengths > 0) & self._finite[name] for name, pool in self.pools.items()}
        bars = [pool_of(timeframe) for timeframe in self.layout.timeframes]
        some = np.logical_or.reduce([self.pools[name].there for name in bars])
        sound = np.logical_and.reduce([full[name] | ~self.pools[name].there for name in bars])
        named = np.array([bool(name.strip()) for name in self.layout.symbols])
        present = {
            "timestamp": everywhere,
            "symbol": named[self.symbol],
            "current_price": self.has_price & np.isfinite(self.current_price),
            "ohlcv_data": some & sound,
        }
        return {name: present[name] if name in present else full[name] for name in FIELDS}

    def completeness(self) -> NDArray[np.float64]:
        """Share of the ten fields that each package has, float64 (n,) in [0, 1] (R9.2)."""
        counts = np.sum(list(self.present().values()), axis=0, dtype=np.int64)
        return np.asarray(counts / len(FIELDS), np.float64)

    def flags(
        self, rules: PackageRules = DEFAULT_RULES, *, now_ms: int | None = None, hashed: PackageBatch | None = None
    ) -> NDArray[np.bool_]:
        """The flags of every package, bool (n, 6), in the order of `FLAGS` (R9.3).

        rules   as for a single package
        now_ms  the clock; None for historical packages
        hashed  `self.hashed()`, if the caller has it, so that nothing is hashed twice
        """
        flags = {
            "valid_timestamp": self._timestamps_are_valid(rules, now_ms),
            "valid_ohlcv": self._bars_are_valid(),
            "valid_cnn_features": self._is_shaped("cnn_features", rules.cnn_shape),
            "valid_rl_state": self._is_shaped("rl_state", None if rules.rl_shape is None else (1, *rules.rl_shape)),
            "consistent_price": self._prices_are_consistent(rules),
            "integrity": self.integrity(hashed),
        }
        return np.stack([flags[name] for name in FLAGS], axis=1)

    def _timestamps_are_valid(self, rules: PackageRules, now_ms: int | None) -> NDArray[np.bool_]:
        valid: NDArray[np.bool_] = (self.timestamp >= 0) & (self.timestamp <= MAX_TIMESTAMP)
        if now_ms is not None:
            valid &= self.timestamp <= now_ms + rules.future_tolerance_ms
            if rules.max_package_age_s is not None:
                valid &= now_ms - self.timestamp <= rules.max_package_age_s * 1_000.0
        for name, (_, column) in STAMPED.items():
            valid &= ~(_latest(self.pools[name], column) > self.timestamp)
        return valid

    def _bars_are_valid(self) -> NDArray[np.bool_]:
        some = np.zeros(len(self), np.bool_)
        valid = np.ones(len(self), np.bool_)
        for timeframe in self.layout.timeframes:
            pool = self.pools[pool_of(timeframe)]
            time, first, high, low, close, volume = pool.rows.T
            # Each row is judged once for all packages that share it. Negated comparisons, so that NaN is bad.
            bad = ~(high >= np.maximum(first, close)) | ~(low <= np.minimum(first, close))
            bad |= ~(low > 0.0) | ~(volume >= 0.0) | ~np.isfinite(pool.rows).all(axis=1)
            back = np.zeros(time.shape[0], np.bool_)
            back[1:] = ~(time[1:] > time[:-1])
            sound = (pool.lengths > 0) & (pool.count(bad) == 0) & (pool.count(back, skip=1) == 0)
            some |= pool.there
            valid &= ~pool.there | (sound & (_last(pool, 0) + parse_timeframe(timeframe) <= self.timestamp))
        return some & valid

    def _is_shaped(self, name: str, expected: tuple[int, int] | None) -> NDArray[np.bool_]:
        pool = self.pools[name]
        valid: NDArray[np.bool_] = (pool.lengths > 0) & self._finite[name]
        if expected is None:
            return valid
        rows, columns = expected
        valid &= (pool.lengths == rows) & np.bool_(pool.rows.shape[1] == columns)
        return valid

    def _prices_are_consistent(self, rules: PackageRules) -> NDArray[np.bool_]:
        """The close of the shortest timeframe that a package has, against its price."""
        close = np.full(len(self), np.nan)
        # From the longest to the shortest: the last one that a package has stays.
        for timeframe in sorted(self.layout.timeframes, key=parse_timeframe, reverse=True):
            pool = self.pools[pool_of(timeframe)]
            close = np.where(pool.there, _last(pool, 4), close)
        price = self.current_price
        with np.errstate(invalid="ignore"):
            near = np.abs(close - price) <= rules.price_tolerance * price
        return self.has_price & np.isfinite(price) & (price > 0.0) & near

    def integrity(self, hashed: PackageBatch | None = None) -> NDArray[np.bool_]:
        """Whether both hashes that a package claims are those it has, bool (n,); one that claims none is sound."""
        if self.data_hash is None or self.digest is None:
            return np.ones(len(self), np.bool_)
        own = self.hashes() if hashed is None else (hashed.data_hash, hashed.digest)
        same: NDArray[np.bool_] = (self.data_hash == own[0]).all(axis=1) & (self.digest == own[1]).all(axis=1)
        return same


def concatenated(batches: Sequence[PackageBatch]) -> PackageBatch:
    """The packages of several batches of one layout, one after the other; hashed unless none of them is."""
    first = batches[0]
    if len(batches) == 1:
        return first
    if any(batch.layout != first.layout for batch in batches):
        raise DataError("batches that are joined have one layout; found different ones. Build them with one layout.")
    some = any(batch.digest is not None for batch in batches)
    hashed = [batch.hashed() if some and batch.digest is None else batch for batch in batches]
    names = (*_PLAIN, "data_hash", "digest") if some else _PLAIN
    columns: dict[str, Any] = {name: np.concatenate([getattr(batch, name) for batch in hashed]) for name in names}
    pools = {name: joined([batch.pools[name] for batch in hashed]) for name in first.pools}
    return PackageBatch(layout=first.layout, pools=pools, **columns)


def _slices(pool: Ranges) -> list[Any]:
    """The bytes of each package's rows, without copying; nothing where it has none."""
    width = pool.rows.shape[1] * pool.rows.dtype.itemsize
    if pool.rows.size == 0:
        return [b""] * pool.start.shape[0]
    memory = pool.rows.reshape(-1).view("u1").data
    bounds = zip((pool.start * width).tolist(), (pool.stop * width).tolist(), strict=True)
    return [memory[start:stop] if start >= 0 else b"" for start, stop in bounds]


def _last(pool: Ranges, column: int) -> NDArray[np.float64]:
    """One column of each package's last row; NaN where it has no rows."""
    out = np.full(pool.start.shape[0], np.nan)
    full = pool.lengths > 0
    out[full] = pool.rows[pool.stop[full] - 1, column]
    return out


def _latest(pool: Ranges, column: int) -> NDArray[np.float64]:
    """The greatest value of a column in each package's rows, NaN aside; NaN where it has none."""
    out = np.full(pool.start.shape[0], np.nan)
    full = pool.lengths > 0
    if full.any():
        # A bound may lie one past the last row, so there is one more.
        values = np.append(pool.rows[:, column], np.nan)
        bounds = np.stack((pool.start[full], pool.stop[full]), axis=1).reshape(-1)
        out[full] = np.fmax.reduceat(values, bounds)[::2]
    return out


def _claimed(texts: list[str], size: int) -> NDArray[np.uint8]:
    """Hex digests as bytes; one that is none becomes zeros, which no package has, so that its integrity is refused."""
    good = [text if len(text) == 2 * size and set(text) <= set("0123456789abcdef") else "00" * size for text in texts]
    return np.frombuffer(bytes.fromhex("".join(good)), np.uint8).reshape(len(texts), size)


def _check_head(package: ModelInputPackage, layout: PackageLayout, index: int) -> None:
    place = f"package {index}"
    if not isinstance(package.timestamp, int):
        raise DataError(f"{place}: a package in columns has a timestamp in milliseconds; found {package.timestamp!r}.")
    if package.symbol not in layout.symbols:
        raise DataError(
            f"{place}: its symbol is one of {layout.symbols}; found {package.symbol!r}. Add it to the layout."
        )
    if package.current_price is not None and not isinstance(package.current_price, float):
        raise DataError(f"{place}: current_price is a float or None; found {package.current_price!r}. Convert it.")
    bars = package.ohlcv_data
    if bars is not None and (not bars or not set(bars) <= set(layout.timeframes)):
        raise DataError(f"{place}: its timeframes are some of {layout.timeframes}; found {tuple(bars)}.")


def _gathered(packages: Sequence[ModelInputPackage], name: str, pool: Pool) -> Ranges:
    tables = [_table(package, name, pool, index) for index, package in enumerate(packages)]
    lengths = np.array([-1 if table is None else table.shape[0] for table in tables], np.int64)
    there = [table for table in tables if table is not None]
    rows = np.concatenate(there) if there else np.empty((0, len(pool.columns)), pool.dtype)
    stop = np.cumsum(np.maximum(lengths, 0))
    return Ranges(
        rows=rows,
        start=np.where(lengths < 0, -1, stop - np.maximum(lengths, 0)),
        stop=np.where(lengths < 0, -1, stop),
    )


def _table(package: ModelInputPackage, name: str, pool: Pool, index: int) -> NDArray[Any] | None:
    timeframe = timeframe_of(name)
    value: Any = getattr(package, name) if timeframe is None else (package.ohlcv_data or {}).get(timeframe)
    if value is None:
        return None
    wide = len(pool.columns)
    if pool.shape is Shape.MAPPING:
        fits = isinstance(value, Mapping) and tuple(value) == pool.columns
        fits = fits and all(isinstance(item, float) for item in value.values())
        value = np.array([list(value.values())], pool.dtype) if fits else value
    else:
        fits = isinstance(value, np.ndarray) and value.dtype == pool.dtype and value.shape[-1:] == (wide,)
        fits = fits and value.ndim == (1 if pool.shape is Shape.VECTOR else 2)
        value = value.reshape(-1, wide) if fits else value
    if not fits:
        raise DataError(
            f"package {index}: {name} is a {pool.shape} of {pool.dtype} with the columns {pool.columns}; found "
            f"{_what(value)}. Give the layout of these packages, or convert them."
        )
    table: NDArray[Any] = value
    return table


def _what(value: Any) -> str:
    """A value in an error message: shape and dtype of an array, keys of a mapping, else the type."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"{type(value).__name__} {tuple(value)}" if isinstance(value, Mapping) else type(value).__name__
