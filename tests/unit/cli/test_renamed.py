"""Old forms of commands become new ones before anything is parsed; everything else passes as it is."""

from __future__ import annotations

import pytest

from lockstep.cli.renamed import renamed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("replay last --session --top 3 --set a=b", "retrain last --top 3 --set a=b"),
        ("replay --session --best", "retrain best"),
        ("replay last --step 17 --save f", "step last --save f 17"),
        ("replay last --step -1", "step last -1"),
        # Taken before, and of no effect there.
        ("replay last --step 3 --workers 2 --check-every=5 --across", "step last --across 3"),
        ("replay --best --step=2", "step best 2"),
        ("replay --step 2 -- last", "step -- last 2"),
    ],
)
def test_an_old_form_is_put_into_the_new_one(old: str, new: str) -> None:
    words, note = renamed(old.split())
    assert words == new.split()
    assert note is not None
    assert f"`lockstep {new.split()[0]} RUN" in note


@pytest.mark.parametrize(
    "words",
    [
        "",
        "replay last --gradients --from 3",
        "replay --best",
        "replay -- --session",
        "replay last --step",
        "train spec.toml --tag --session",
    ],
)
def test_what_is_not_old_passes_as_it_is(words: str) -> None:
    assert renamed(words.split()) == (words.split(), None)
