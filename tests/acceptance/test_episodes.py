"""From a file of candles to a trained network without Python: collect, train, verify (docs/episodes.md)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from tests.acceptance.user import ROOT, User
from tests.unit.episodes.episode_markets import SYMBOL, trending

from lockstep.app.data import export_candles
from lockstep.episodes.book import EpisodeBook

PAGE = (ROOT / "docs" / "episodes.md").read_text()
SPEC = PAGE.split("with `episodes.toml`:\n\n```toml\n")[1].split("```")[0]


def market(user: User, bars: int = 600) -> Path:
    path = user.folder / "prices.csv"
    export_candles(trending(bars), path)
    return path


def test_a_user_goes_the_whole_way_on_the_command_line(user: User) -> None:
    """R9.5, R9.18, R9.19: the counts add up, the book is trained on with the spec of the page, the run verifies."""
    pytest.importorskip("torch")
    market(user)
    told = user("data", "episodes", "prices.csv", "--symbol", SYMBOL, "--json").json
    assert told["packages"] == told["stored"] + told["quarantined"]["total"] == 600
    assert told["stored"] == told["validated"] + told["lapsed"] + told["pending"]
    # Without trades and a book 8 of 10 fields; the first hour lacks indicators, then pivots.
    assert 0.75 < told["mean_completeness"] < 0.8
    book = EpisodeBook.open(user.home / "episodes")
    validated, scores = book.column("outcome_validated"), book.column("profitability_score")
    assert told["profitable"] == int((book.column("actual_profit")[validated] > 0.0).sum())
    assert told["enough"] == int((scores[validated] >= 0.7).sum()) > 50
    assert [one["profitability_score"] for one in told["best"]] == np.sort(scores)[::-1][:5].tolist()
    before = {path: path.read_bytes() for path in (user.home / "episodes").rglob("*") if path.is_file()}
    (user.folder / "episodes.toml").write_text(SPEC)
    assert tomllib.loads(SPEC)["episodes"] == {"symbol": SYMBOL}
    run = user("train", "episodes.toml", "--set", "training.epochs=1", "--json").json
    # Packages have 64 bars once as many have closed; the first ones have fewer and do not teach.
    assert told["enough"] - 64 <= run["summary"]["episodes"]["used"] <= told["enough"]
    assert {path: path.read_bytes() for path in before} == before, "a run does not change what it learned from"
    again = user("train", "episodes.toml", "--set", "training.epochs=1", "--json").json
    assert again["journal_hash"] == run["journal_hash"]
    assert user("verify", "last", "--json").json["equal"] is True


def test_what_was_collected_is_said_in_words_and_never_written_over(user: User) -> None:
    market(user, bars=200)
    said = user("data", "episodes", "prices.csv", "--symbol", SYMBOL, "--longer", "15m", "--out", "book").out
    for needed in ("200 made", "mean completeness", "validated", "pending", "rapid", 'kind = "cnn-episodes"'):
        assert needed in said
    refused = user("data", "episodes", "prices.csv", "--symbol", SYMBOL, "--out", "book", code=1)
    assert "holds a book of episodes already" in refused.err
    nothing = user("data", "episodes", "prices.csv", "--symbol", SYMBOL, "--out", "none", "--min-completeness", "1").out
    assert "0 valid" in nothing
    assert "completeness 200" in nothing


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "these candles have no symbol"),
        (("--symbol", "B", "--longer", "1m"), "bars longer than the candles' own 1m"),
        (("--symbol", "B", "--horizon", "0"), "horizon_s is a finite number > 0; found 0.0"),
        (("--symbol", "B", "--trades", "trades.parquet"), "found candles and trades of 2024-01-01T00:00:00.000 to"),
        (("--symbol", "B", "--depth", "prices.csv"), "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_collected_is_said_before_anything_is_written(
    user: User, options: tuple[str, ...], text: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    market(user, bars=100)
    trade = {"trade_id": [1], "timestamp": [1_600_000_000_000], "price": [1.0], "qty": [1.0], "buyer_is_maker": [True]}
    pq.write_table(pa.table(trade), user.folder / "trades.parquet")
    refused = user("data", "episodes", "prices.csv", "--out", "book", *options, code=2)
    assert text in refused.err
    assert not (user.folder / "book").exists()
