"""Cancel: signals become a wish, and handlers go back to what they were."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from lockstep.runs.cancel import Cancel


def test_nobody_asked_at_first() -> None:
    cancel = Cancel()
    assert not cancel.requested
    assert cancel.reason == ""


def test_the_first_to_ask_is_named() -> None:
    cancel = Cancel()
    cancel.request("one")
    cancel.request("two")
    assert cancel.requested
    assert cancel.reason == "one"


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_asks_to_stop(number: signal.Signals, reason: str) -> None:
    before = signal.getsignal(number)
    with Cancel().on_signals() as cancel:
        signal.raise_signal(number)
        assert cancel.reason == reason
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait_for_the_step() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Cancel().on_signals():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_that_falls_where_exceptions_are_lost_is_repeated_a_moment_later() -> None:
    """numba makes Python objects in frames that lose exceptions, as a `__del__` does."""
    lossy = {"__name__": "numba.core", "raise_signal": signal.raise_signal, "SIGINT": signal.SIGINT}
    exec("def interrupted():\n    raise_signal(SIGINT)\n    for _ in range(9): pass\n", lossy)
    with Cancel().on_signals():
        signal.raise_signal(signal.SIGINT)
        lossy["interrupted"]()  # the handler runs in this frame, and raises nothing
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60.0)


def test_a_second_sigterm_changes_nothing() -> None:
    with Cancel().on_signals() as cancel:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert cancel.reason == "SIGTERM"


def test_outside_the_main_thread_handlers_stay_as_they_are() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Cancel().on_signals() as cancel:
            seen.append((signal.getsignal(signal.SIGINT) is before, cancel.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, False)]
