"""What a journal notes of its whole run, checked as it is read: something else than a run may have changed the file.

Rules: each note is one JSON value. One that is not there is that of a run which has not come so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from yagrpc.bulk.parameters import TASKS
from yagrpc.hiding import shown
from yagrpc.journal.file import broken
from yagrpc.journal.journal import Journal
from yagrpc.quantities import number
from yagrpc.sqlitefile import LAST_SECOND


class Left(NamedTuple):
    """Where a run has left an output that grows.

    Args:
        offset: How long it was, in bytes.
        after: Which rows it has: those before this number, or those up to this `seq`.
        tail: A hash of its end.
        again: Whether it is written again from its beginning.
    """

    offset: int
    after: int
    tail: str
    again: bool


class OutputNote(NamedTuple):
    """The output of a run.

    Args:
        path: The file.
        ordered: Whether its rows are in the order of the input.
        left: Where it was left; `None` of one that is written at the end of the run.
    """

    path: str
    ordered: bool
    left: Left | None


class Notes(NamedTuple):
    """What a journal notes of its run.

    Args:
        options: What a later run has to share; empty where none is noted.
        expected: How many rows the input has; `None` where that was not known.
        total: How many it had, once all were read; `None` before that.
        starts: When it was started, each time, in seconds since the epoch.
        limits: How many submits a second and an hour it took at most; `None` where there was no limit.
        output: Its output; `None` where it has none.
    """

    options: Mapping[str, Any]
    expected: int | None
    total: int | None
    starts: Sequence[float]
    limits: tuple[float | None, float | None]
    output: OutputNote | None

    @property
    def task(self) -> str:
        """What the run does with each row."""
        task: str = self.options.get("task", TASKS[0])
        return task


def notes_of(journal: Journal) -> Notes:
    """The notes of a journal.

    Raises:
        ConfigError: One is not such as a run writes.
    """
    noted = journal.noted()
    for name, fits in _FITS.items():
        if name in noted and not fits(noted[name]):
            raise broken(journal.path, f"its note {name} is {shown(noted[name])}")
    output = noted.get("output")
    return Notes(
        noted.get("options", {}),
        noted.get("expected"),
        noted.get("total"),
        noted.get("starts", ()),
        tuple(noted.get("submit_limits", (None, None))),
        None if output is None else _output(output),
    )


def _output(noted: Mapping[str, Any]) -> OutputNote:
    left = None
    if "offset" in noted:
        left = Left(noted["offset"], noted["after"], noted["tail"], noted.get("again", False))
    return OutputNote(noted["path"], noted["ordered"], left)


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2**53


def _is_moment(value: Any) -> bool:
    return (found := number(value)) is not None and 0 <= found <= LAST_SECOND


def _is_limit(value: Any) -> bool:
    return value is None or ((found := number(value)) is not None and 0 < found < 2**53)


def _is_output(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("path"), str) or type(value.get("ordered")) is not bool:
        return False
    if "offset" not in value:
        return True
    left = _is_whole(value["offset"]) and _is_whole(value.get("after")) and isinstance(value.get("tail"), str)
    return left and type(value.get("again", False)) is bool


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "options": lambda value: isinstance(value, dict) and value.get("task", TASKS[0]) in TASKS,
    "expected": lambda value: value is None or _is_whole(value),
    "total": lambda value: value is None or _is_whole(value),
    "starts": lambda value: isinstance(value, list) and all(map(_is_moment, value)),
    "submit_limits": lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_limit, value)),
    "output": _is_output,
}
"""Whether the value of a note is such as a run writes."""
