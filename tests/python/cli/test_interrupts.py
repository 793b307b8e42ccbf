"""Ctrl-C in a loop whose rounds are whole or not there."""

from __future__ import annotations

import signal
import threading

import pytest

from stpl.cli.interrupts import WholeRounds


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_round_is_finished_before_ctrl_c_is_answered() -> None:
    written = []

    def rounds_interrupted_in_the_second() -> None:
        with WholeRounds() as rounds:
            for number in range(3):
                with rounds.one():
                    written.append(("labels", number))
                    if number == 1:
                        ctrl_c()
                    written.append(("overlay", number))

    with pytest.raises(KeyboardInterrupt):
        rounds_interrupted_in_the_second()
    assert written == [("labels", 0), ("overlay", 0), ("labels", 1), ("overlay", 1)]


def test_between_rounds_ctrl_c_is_answered_at_once() -> None:
    with WholeRounds() as rounds:
        with rounds.one():
            pass
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_a_second_ctrl_c_does_not_wait_for_the_round() -> None:
    finished = []

    def twice_in_one_round() -> None:
        with WholeRounds() as rounds, rounds.one():
            ctrl_c()
            ctrl_c()
            finished.append(True)

    with pytest.raises(KeyboardInterrupt):
        twice_in_one_round()
    assert finished == []


def test_an_error_of_the_round_is_not_hidden_by_ctrl_c() -> None:
    def fails_after_ctrl_c() -> None:
        with WholeRounds() as rounds, rounds.one():
            ctrl_c()
            raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        fails_after_ctrl_c()


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
