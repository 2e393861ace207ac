"""The options that say how a file of candles is read, shared by all commands that take one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, get_type_hints

import typer

Columns = Annotated[
    list[str],
    typer.Option(
        "--columns",
        "--column",
        metavar="OURS=THEIRS|NAMES",
        default_factory=list,
        show_default=False,
        help=(
            "Which column is which, such as timestamp=Date or timestamp=Date+Time; or all names in their order, such "
            "as timestamp,open,high,low,close,volume. May be repeated; usual names are recognised."
        ),
    ),
]
TimeFormat = Annotated[
    str | None, typer.Option(metavar="FORMAT", help='How times are written, such as "%d.%m.%Y %H:%M:%S".')
]
TimeUnit = Annotated[
    str | None,
    typer.Option(
        metavar="UNIT",
        help="What numeric times count: s, ms, us, ns, ticks, excel ... (default: inferred from their magnitude).",
    ),
]
Timezone = Annotated[
    str | None, typer.Option(metavar="ZONE", help='"UTC" or an offset such as +02:00, for times that name none.')
]
Skip = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Lines to leave aside above the table (default: found).")
]
Decimal = Annotated[str | None, typer.Option(metavar=".|,", help="The decimal mark (default: read from the cells).")]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a text file, such as cp1252 (default: its byte-order mark, else UTF-8)."),
]
Adjusted = Annotated[
    bool | None,
    typer.Option(
        "--adjusted/--unadjusted",
        show_default=False,
        help="Scale all four prices by adjusted close / close, or leave them as traded (the default).",
    ),
]
Sort = Annotated[bool, typer.Option("--sort", help="Sort the rows by time instead of refusing unsorted ones.")]
OnBad = Annotated[
    str | None,
    typer.Option(
        metavar="error|drop", help="Refuse broken and repeated rows (the default), or leave them out and say how many."
    ),
]
Stamp = Annotated[
    str | None,
    typer.Option(
        metavar="open|close",
        help="Whether times are those at which bars open (the default) or close; closes are moved.",
    ),
]
DropBad = Annotated[bool, typer.Option("--drop-bad", help="The same as --on-bad drop.")]
Symbol = Annotated[
    str | None,
    typer.Option(metavar="NAME", help='A label, such as "BTC/USDT"; of a file with several markets, which to read.'),
]
Exchange = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A label, such as binance; of a file with several exchanges, which to read."),
]
_TYPES: Final[Mapping[str, Any]] = {
    "columns": Columns, "time_format": TimeFormat, "time_unit": TimeUnit, "timezone": Timezone, "skip": Skip,
    "decimal": Decimal, "encoding": Encoding, "adjusted": Adjusted, "sort": Sort, "on_bad": OnBad,
    "stamp": Stamp, "drop_bad": DropBad, "symbol": Symbol, "exchange": Exchange,
}  # fmt: skip
_NO_DEFAULT: Final = {"columns": inspect.Parameter.empty, "sort": False, "drop_bad": False}


def reads_files(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the options above in place of its parameter `reading`, which gets those that are set, by name.

    An option that is a parameter of the command itself stays that.
    What they mean together, such as a list of names beside a mapping, is checked by `app.files`.
    """
    signature = inspect.signature(command)
    hints = {name: kind for name, kind in get_type_hints(command, include_extras=True).items() if name != "reading"}

    types = {name: kind for name, kind in _TYPES.items() if name not in signature.parameters}

    @functools.wraps(command)
    def with_reading(**values: Any) -> Any:
        own = {name: values.pop(name) for name in types}
        unset = {name for name, value in own.items() if value in (None, []) or (value is False and name != "adjusted")}
        return command(**values, reading={name: value for name, value in own.items() if name not in unset})

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in signature.parameters.items()
        if name != "reading"
    ]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_NO_DEFAULT.get(name), annotation=kind)
        for name, kind in types.items()
    ]
    # The options that commands share (home, json) stay last in the help.
    shared = [parameter for parameter in parameters if parameter.name in ("home", "json", "verbose")]
    own = [parameter for parameter in parameters if parameter not in shared]
    with_reading.__signature__ = signature.replace(parameters=[*own, *options, *shared])  # type: ignore[attr-defined]
    with_reading.__annotations__ = {**hints, **types}
    return with_reading
