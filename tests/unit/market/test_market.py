from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_readme_runs() -> None:
    result = doctest.testfile(str(ROOT / "src/lockstep/market/README.md"), module_relative=False)
    assert result.attempted > 3
    assert result.failed == 0


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, lockstep.market; print([m for m in ('numpy', 'pyarrow', 'numba', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_candles_and_files_need_no_pandas() -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from lockstep.market.sample import sample_candles\n"
        "from lockstep.market.quality import quality_report\n"
        "from lockstep.market.cleaning import DataCleaner\n"
        "bars = sample_candles(); quality_report(bars); print(DataCleaner().clean(bars)[1]['original_count'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "6225\n"


def test_the_notice_quotes_the_licence_of_the_sample() -> None:
    notice = (ROOT / "NOTICE").read_text()
    assert "Copyright (c) 2019 Mohammad Amin Haghpanah" in notice
    assert "The above copyright notice and this permission notice shall be included" in notice
