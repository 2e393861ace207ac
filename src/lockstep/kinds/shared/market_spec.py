"""The tables [market], [data] and [costs], which every kind that reads candles has."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from lockstep.core.units import parse_timeframe, pip_size
from lockstep.engine.costs import Costs
from lockstep.runs.spec import SpecModel

FRACTION: Final[dict[str, Any]] = {"unit": "fraction"}
"""Marks a key as a fraction of 1 in the JSON schema of a spec."""


class MarketTable(SpecModel):
    """`[market]`: which market this is. `regime` is a label of the user's, stored with the result."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    """Bar length such as "5m"; default: the most common step of the candles."""
    regime: str | None = None

    @field_validator("timeframe")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_timeframe(value)
        return value


class FileTable(SpecModel):
    """How to read a file of candles; the keys are arguments of `ls.load_candles`."""

    path: str | list[str] | None = None
    """Relative to the spec file; a pattern such as "BTCUSDT-1h-*.zip", or a list, is joined in the order of time."""
    columns: dict[str, str | list[str] | None] | list[str] | None = None
    time_unit: (
        Literal[
            "s", "ms", "us", "ns", "ticks", "filetime", "webkit", "apple", "mac", "excel", "excel1904", "julian",
            "matlab", "ordinal", "days", "minutes",
        ]
        | None
    ) = None  # fmt: skip
    time_format: str | None = None
    timezone: str | None = None
    skip: int | None = Field(default=None, ge=0)
    decimal: Literal[".", ","] | None = None
    encoding: str | None = None
    adjusted: bool | None = None
    sort: bool = False
    start: str | int | None = None
    stop: str | int | None = None
    extra: tuple[str, ...] = ()
    on_bad: Literal["error", "drop"] = "error"
    stamp: Literal["open", "close"] = "open"


class InputTable(FileTable):
    """`[data.inputs.NAME]`: candles of another series, which the strategy declares under that name."""

    path: str | list[str] = Field(min_length=1)
    timeframe: str | None = None
    symbol: str | None = None
    """Of a file with several markets, which to read."""
    exchange: str | None = None


class DataTable(FileTable):
    """`[data]`: where the candles come from. Not in the fingerprint, which has the digest of the candles."""

    source: Literal["sample", "file", "python"] = "sample"
    """"python": the argument `candles` of `ls.train`."""
    last: int | None = Field(default=None, ge=1)
    """Number of most recent bars to use; default: all."""
    filter: dict[str, Any] | str | None = None
    """Cleaning before the training: a `data_filter_config` table or the name of a preset (`market.cleaning`)."""
    min_quality: float = Field(default=60.0, ge=0.0, le=100.0)
    """Least quality score (0 to 100) that is trained on; 0: any. Decides whether a run starts, never its result."""
    inputs: dict[str, InputTable] = Field(default_factory=dict)

    @field_validator("source", mode="before")
    @classmethod
    def _no_database_yet(cls, value: Any) -> Any:
        if value == "database":
            raise ValueError(
                "databases come with a later version. Export the candles to a Parquet or CSV file and use "
                'source = "file"'
            )
        return value

    @model_validator(mode="after")
    def _path_fits(self) -> Self:
        if self.source == "file" and not self.path:
            raise ValueError('source = "file" needs the key path: where the candles are, relative to the spec file')
        # The sample would be trained on, and the user would believe that it was the file.
        if self.path is not None and self.source != "file":
            raise ValueError(
                f'path is read with source = "file" only; found source = "{self.source}" and path = "{self.path}"'
            )
        return self


class CostsTable(SpecModel):
    """`[costs]`: what a trade costs (`engine.costs.Costs`). Rates are fractions: 0.1 % is 0.001."""

    fee_rate: float = Field(default=0.001, ge=0.0, lt=1.0, json_schema_extra=FRACTION)
    maker_fee_rate: float | None = Field(default=None, gt=-1.0, lt=1.0, json_schema_extra=FRACTION)
    slippage_rate: float = Field(default=0.0005, ge=0.0, lt=1.0, json_schema_extra=FRACTION)
    spread: float | None = Field(default=None, ge=0.0)
    """Distance of bid and ask, price units."""
    spread_pips: float | None = Field(default=None, ge=0.0)
    """Distance of bid and ask in pips of the symbol, for currency pairs."""
    allow_high_fees: bool = False
    """Whether fees and slippage above 0.02 (2 % per side) are meant; by default they are refused as percent."""
    fill: Literal["next_open", "close"] = "next_open"

    @model_validator(mode="after")
    def _one_spread(self) -> Self:
        # Two values for one thing: whichever won, one would be ignored.
        if self.spread is not None and self.spread_pips is not None:
            raise ValueError("spread (price units) and spread_pips are two ways to say one thing: keep one of them")
        return self

    def settings(self, symbol: str | None) -> Costs:
        """The engine's costs; `symbol` decides the size of a pip. Raises InputError."""
        spread = 0.0
        if self.spread is not None:
            spread = self.spread
        # A pip depends on the pair: 0.01 of a yen pair, 0.0001 of most others.
        elif self.spread_pips is not None:
            spread = self.spread_pips * pip_size(symbol or "")
        return Costs(
            fee_rate=self.fee_rate,
            maker_fee_rate=self.maker_fee_rate,
            slippage_rate=self.slippage_rate,
            spread=spread,
            allow_high_fees=self.allow_high_fees,
        )
