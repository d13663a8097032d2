"""`progress=True`: what is shown of a run where there is no notebook; notebooks are in tests/examples."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import yagrpc
from yagrpc.bulk import shown
from yagrpc.emulator import Emulator

Connect = Callable[..., yagrpc.Client]

VIEW = yagrpc.Progress(
    200, 90, 0, 5, 1, {"done": 88, "failed": 2}, 0, 0, 900, 900, 1.5, None, 12.0, 7.5, 3675.0, "an outage"
)


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_has_what_tqdms_has() -> None:
    said = "[00:12<1:01:15, 7.50row/s, done=88, failed=2, an outage, 1.50 RUB]"
    assert VIEW.bar() == f" 45%|####      | 90/200 {said}"
    assert VIEW.bar(0) == f" 45% 90/200 {said}"
    unknown = VIEW._replace(total=None, per_second=0.0, seconds_left=None, note="", cost=None)
    assert unknown.bar() == "90row [00:12, ?row/s, done=88, failed=2]"
    assert unknown._replace(total=0, ended=0, outcomes={}).bar() == "  0%|          | 0/0 [00:12<?, ?row/s]"


def test_a_terminal_has_one_line_that_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", written := Terminal())
    line = shown.TextLine()
    line(VIEW)
    line(VIEW._replace(note=""))
    line.close()
    first, second = written.getvalue().split("\r")[1:]
    assert first == VIEW.bar()
    assert second.startswith(VIEW._replace(note="").bar())
    assert len(second) == len(first) + 1
    assert second.endswith("\n")


def test_elsewhere_there_is_a_line_now_and_then_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    line = shown.TextLine()
    for now in (1.0, 11.0, 12.0):
        line(VIEW._replace(ended=int(now)))
    line.close()
    assert re.findall(r"(\d+)/200", written.getvalue()) == ["11", "12"]
    line.close()
    assert written.getvalue().count("\n") == 2


def test_a_process_without_stderr_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    line = shown.TextLine()
    line(VIEW)
    line.close()


@pytest.mark.parametrize(("given", "lines"), [(True, 1), (False, 0), (None, 0)])
def test_a_run_shows_its_end_where_it_is_wanted(
    connect: Connect, capsys: pytest.CaptureFixture[str], given: Any, lines: int
) -> None:
    with Emulator(duration=0) as emulator:
        connect(emulator).bulk(["a", "b"], progress=given).run()
    assert capsys.readouterr().err.count("100%|##########| 2/2 [") == lines


def test_another_progress_is_refused(connect: Connect) -> None:
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match="progress is 'bar': it takes True, False or"):
        connect(emulator).bulk(["a"], progress="bar")  # type: ignore[arg-type]
