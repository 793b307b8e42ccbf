"""Ctrl-C in a loop whose rounds are whole or not there."""

from __future__ import annotations

import signal
import threading

import pytest

from stpl.cli.interrupts import WholeRounds


def test_a_round_is_finished_before_ctrl_c_is_answered() -> None:
    written = []
    with pytest.raises(KeyboardInterrupt), WholeRounds() as rounds:
        for number in range(3):
            with rounds.one():
                written.append(("labels", number))
                if number == 1:
                    signal.raise_signal(signal.SIGINT)
                written.append(("overlay", number))
    assert written == [("labels", 0), ("overlay", 0), ("labels", 1), ("overlay", 1)]


def test_between_rounds_ctrl_c_is_answered_at_once() -> None:
    with WholeRounds() as rounds:
        with rounds.one():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_does_not_wait_for_the_round() -> None:
    with WholeRounds() as rounds, pytest.raises(KeyboardInterrupt), rounds.one():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_error_of_the_round_is_not_hidden_by_ctrl_c() -> None:
    with WholeRounds() as rounds, pytest.raises(ValueError, match="disk full"), rounds.one():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("disk full")


def test_the_handler_before_comes_back_and_other_threads_have_none() -> None:
    before = signal.getsignal(signal.SIGINT)
    found = []

    def elsewhere() -> None:
        with WholeRounds() as rounds, rounds.one():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [before]
    with WholeRounds():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
