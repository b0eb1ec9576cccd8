"""Signals become requests to stop."""

from __future__ import annotations

import os
import signal

import pytest

from photic.engine.interruption import Interruption


def test_the_first_signal_asks_and_the_second_ctrl_c_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
        assert "can be resumed" in capsys.readouterr().out
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_launcher_passing_on_the_same_ctrl_c_asks_once_and_speaks_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with Interruption(launched=True) as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        assert capsys.readouterr().out == ""


def test_handlers_taken_over_by_others_are_taken_back_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interruption.renew()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
    assert signal.getsignal(signal.SIGTERM) is before
