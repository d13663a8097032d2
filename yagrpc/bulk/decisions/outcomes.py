"""How a row ends, and whether it is tried again.

Rules: pure. An outcome is data: it is one word in the journal, in files and in Python.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from yagrpc.errors import (
    AmbiguousSubmitError,
    Code,
    ConfigError,
    JournalError,
    LimiterError,
    MessageTooLargeError,
    OperationNotFoundError,
    PermissionDeniedError,
    RequestError,
    ResultError,
    UnauthenticatedError,
    UnavailableError,
    YagrpcError,
)
from yagrpc.hiding import shown
from yagrpc.quantities import number


class RowOutcome(str, enum.Enum):
    """How a row of a bulk run has ended."""

    DONE = "done"
    TRUNCATED = "truncated"
    """The answer was cut off at its limit of tokens."""
    FILTERED = "filtered"
    """The service's content filter stopped the answer."""
    INVALID = "invalid"
    """The row itself can't be sent; nothing was."""
    SCHEMA_MISMATCH = "schema_mismatch"
    """A JSON schema was asked for, and the answer does not follow it."""
    FAILED = "failed"
    """The service refused the request, or its operation failed."""
    EXPIRED = "expired"
    """The service no longer knows the operation; it may have been billed."""
    AMBIGUOUS = "ambiguous"
    """The request may have started, and be billed; its operation is not known."""

    __str__ = str.__str__


DOUBTFUL: Final = frozenset({RowOutcome.EXPIRED, RowOutcome.AMBIGUOUS})
"""Outcomes of attempts that may have been billed, and gave no result."""

RETRIABLE: Final = (RowOutcome.TRUNCATED, RowOutcome.FILTERED, RowOutcome.SCHEMA_MISMATCH, RowOutcome.FAILED)
"""Outcomes that `retry_on` takes."""

RESUBMITS: Final = 5
"""Attempts of one row at most where each may have been billed, whatever `retries` says: nothing is paid for ever."""

_CHANGES: Final = ("max_tokens", "model", "temperature")
"""The parameters that an outcome may change in the next attempt."""

_MOST_FACTOR: Final = 100
"""The most by which `max_tokens` may be multiplied."""

_WORTH: Final = {
    RowOutcome.DONE: 3,
    RowOutcome.TRUNCATED: 2,
    RowOutcome.SCHEMA_MISMATCH: 2,
    RowOutcome.FILTERED: 1,
}
"""What an answer is worth, by its outcome; no other outcome has an answer."""

_TRANSIENT: Final = frozenset(
    {Code.INTERNAL, Code.UNAVAILABLE, Code.UNKNOWN, Code.ABORTED, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}
)
"""Codes of failures that may not come again; the others are of the request."""


class Retries(NamedTuple):
    """Which outcomes are tried again, and how.

    Args:
        most: How often one row is tried again, at most.
        on: What an outcome changes in the next attempt: parameters of a completion; `max_tokens` may be `x2`.
        resubmit: Whether an attempt that may have been billed is tried again.
    """

    most: int
    on: Mapping[RowOutcome, Mapping[str, Any]]
    resubmit: bool


def check_retries(most: object, on: object, on_ambiguous: object) -> Retries:
    """The retries of a run, as its user gave them.

    Args:
        most: How often.
        on: Outcomes, or what each changes.
        on_ambiguous: `resubmit` or `fail`.

    Raises:
        ConfigError: One is something else.
    """
    repeats = number(most, whole=True)
    if repeats is None or repeats < 0:
        raise ConfigError(f"retries is {shown(most)}: it takes a whole number, 0 or more")
    if not isinstance(on_ambiguous, str) or on_ambiguous not in ("resubmit", "fail"):
        raise ConfigError(f"on_ambiguous is {shown(on_ambiguous)}: it takes 'resubmit' or 'fail'")
    names = ", ".join(RETRIABLE)
    if isinstance(on, str) or not isinstance(on, Iterable):
        raise ConfigError(f"retry_on is {shown(on)}: it takes outcomes, or a dict of what each changes: {names}")
    found: dict[RowOutcome, Mapping[str, Any]] = {}
    for name in on:
        changed = on[name] if isinstance(on, Mapping) else {}
        if name not in tuple(RETRIABLE):
            raise ConfigError(f"retry_on holds {shown(name)}: it takes {names}")
        _check_changes(name, changed)
        found[RowOutcome(name)] = dict(changed)
    return Retries(int(repeats), found, on_ambiguous == "resubmit")


def outcome_of_error(error: YagrpcError) -> RowOutcome:
    """How a row ended whose call, or whose operation, failed."""
    if isinstance(error, RequestError):
        return RowOutcome.INVALID
    if isinstance(error, AmbiguousSubmitError):
        return RowOutcome.AMBIGUOUS
    if isinstance(error, OperationNotFoundError):
        return RowOutcome.EXPIRED
    if isinstance(error, (ResultError, MessageTooLargeError)) and not error.operation_id:
        return RowOutcome.AMBIGUOUS  # the service answered, so it has started something
    return RowOutcome.FAILED


def stops_run(error: YagrpcError) -> bool:
    """Whether a failure is that of every row: of the credentials, the settings, or the journal."""
    return isinstance(error, (UnauthenticatedError, PermissionDeniedError, JournalError, LimiterError, ConfigError))


def is_outage(error: YagrpcError) -> bool:
    """Whether the service could not be reached, which says nothing of the row: it is sent later."""
    return isinstance(error, UnavailableError) and not error.operation_id


def tried_again(outcome: RowOutcome, error: YagrpcError | None, attempt: int, retries: Retries) -> bool:
    """Whether another attempt follows.

    Args:
        outcome: How the attempt ended.
        error: Why it failed, if it did. A doubtful outcome without one is that of a process that ended: it is no
            failure of the row, and `retries` does not count it.
        attempt: Which one it was, from 1.
        retries: What is tried again.
    """
    if outcome in DOUBTFUL:
        return retries.resubmit and attempt < RESUBMITS and (error is None or attempt <= retries.most)
    if outcome not in retries.on or attempt > retries.most:
        return False
    return outcome is not RowOutcome.FAILED or (error is not None and error.code in _TRANSIENT)


def better_before(outcome: str, before: Iterable[str]) -> str | None:
    """The outcome of an earlier attempt whose answer is worth more than how the last one ended; `None` for none.

    Args:
        outcome: How the last attempt ended.
        before: The outcomes of the attempts before.
    """

    def worth(name: str) -> int:
        return _WORTH.get(RowOutcome(name), 0)

    best = max(before, key=worth, default=outcome)
    return best if worth(best) > worth(outcome) else None


def changed_parameters(given: Mapping[str, Any], attempts: Iterable[str], retries: Retries) -> dict[str, Any]:
    """The parameters of the next attempt.

    Args:
        given: Those of the first.
        attempts: The outcomes of the attempts before, in order.
        retries: What each changes. A factor of `max_tokens` needs a number that was given, and changes nothing else.
    """
    parameters = dict(given)
    for outcome in attempts:
        for name, value in retries.on.get(RowOutcome(outcome), {}).items():
            factor = _factor(value) if name == "max_tokens" and isinstance(value, str) else None
            if factor is not None:
                if "max_tokens" in parameters:
                    parameters["max_tokens"] = int(parameters["max_tokens"] * factor)
            else:
                parameters[name] = value
    return parameters


def _check_changes(outcome: str, changed: object) -> None:
    """Check the names of what an outcome changes, and the factor: their values are those of a completion.

    Raises:
        ConfigError: One is something else.
    """
    where, allowed = f"retry_on[{str(outcome)!r}]", f"it takes {', '.join(_CHANGES)}"
    if not isinstance(changed, Mapping):
        raise ConfigError(f"{where} is {shown(changed)}: {allowed}")
    for name in changed:
        if name not in _CHANGES:
            near = difflib.get_close_matches(str(name), _CHANGES, n=1)
            remedy = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where} has {shown(name)}: {allowed}{remedy}")
    tokens = changed.get("max_tokens")
    if isinstance(tokens, str) and _factor(tokens) is None:
        allowed = f"it takes a whole number, or a factor over 1 and up to {_MOST_FACTOR}, such as 'x2'"
        raise ConfigError(f"{where}['max_tokens'] is {shown(tokens)}: {allowed}")


def _factor(text: str) -> float | None:
    """The factor that a text such as `x2` is; `None` where it is none."""
    try:
        factor = float(text.removeprefix("x"))
    except ValueError:
        return None
    return factor if text.startswith("x") and 1 < factor <= _MOST_FACTOR else None
