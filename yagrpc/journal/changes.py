"""What can happen to a row of a journal: the steps from `planned` to `ended`.

    planned -> submitting -> submitted (operation id) -> ended
       ^____________|_______________|  (proved not to have started, as where it was refused; or tried again)
    waiting -> ended  (a copy of another row, with that row)

A row that was never sent is planned too: the journal does not have it yet, and its input does.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias


class State(enum.IntEnum):
    """How far a row is."""

    PLANNED = 0
    SUBMITTING = 1
    """Its request leaves, or has left; its operation is not known."""
    SUBMITTED = 2
    """Its operation is known."""
    ENDED = 3
    WAITING = 4
    """It is a copy of a row that has not ended."""


class Fixed(NamedTuple):
    """What a row is, whatever happens to it.

    Args:
        number: Its place in the input, from 0.
        id: The id that its user gave; `None` for none.
        line: Its line in the input, from 1.
        fingerprint: A hash of its source.
        source: The row as JSON.
    """

    number: int
    id: str | None
    line: int
    fingerprint: bytes
    source: bytes


class Intent(NamedTuple):
    """Its request is about to leave.

    Args:
        fixed: The row.
        attempt: Which attempt it is, from 1.
        doubtful: How many attempts before may have been billed without a result.
        request_id: What the request is known by to the service (`x-client-request-id`).
        at: When, in seconds since the epoch.
    """

    fixed: Fixed
    attempt: int
    doubtful: int
    request_id: str
    at: float


class Retracted(NamedTuple):
    """Its request has not left: it is planned again."""

    number: int


class Refused(NamedTuple):
    """Its request was refused, and has started nothing: it is planned again.

    Args:
        number: The row.
        at: When, in seconds since the epoch.
        code: The name of the status code.
    """

    number: int
    at: float
    code: str


class GetsRefused(NamedTuple):
    """Gets of its operations were refused: how many in one second, with one code.

    Args:
        at: The second, since the epoch.
        code: The name of the status code.
        times: How many; they are added to those that the journal has of this second.
    """

    at: int
    code: str
    times: int


class Accepted(NamedTuple):
    """The service accepted its operation."""

    number: int
    operation_id: str


class Result(NamedTuple):
    """How an attempt ended.

    Args:
        number: The row.
        ended: When, in seconds since the epoch.
        outcome: How, as one word.
        response: The answer as it came; `None` where there is none.
        error: What went wrong; empty where nothing did.
        input_tokens: What it used.
        output_tokens: What it used.
        cost: What it cost, in roubles; `None` where that is not known.
    """

    number: int
    ended: float
    outcome: str
    response: bytes | None = None
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


class Ended(NamedTuple):
    """It has ended, for good.

    Args:
        result: How.
        fixed: The row, where the journal may not have it yet: nothing was submitted for it.
        attempt: Its last attempt, from 1; 0 where it was not sent. It counts where `fixed` is given.
    """

    result: Result
    fixed: Fixed | None = None
    attempt: int = 0


class Kept(NamedTuple):
    """It has ended, and its last attempt ended worse than an earlier one: the answer of that one is its result.

    Args:
        result: How the last attempt ended.
        outcome: How the earlier one did.
        doubtful: Whether the last one may have been billed without a result.
        sent: Whether the last one was sent.
    """

    result: Result
    outcome: str
    doubtful: bool
    sent: bool


class Again(NamedTuple):
    """An attempt has ended, and another follows: it is planned again.

    Args:
        result: How it ended.
        doubtful: Whether it may have been billed without a result.
    """

    result: Result
    doubtful: bool


class First(NamedTuple):
    """It is the first row with its request: equal ones are copies of it. It is planned, unless it is more already.

    Args:
        fixed: The row.
        digest: A hash of its request.
    """

    fixed: Fixed
    digest: bytes


class Copied(NamedTuple):
    """It is a copy of another row: nothing is sent for it, and it ends as that row does.

    Args:
        fixed: The row.
        first: The number of the other row.
        at: When that was found, in seconds since the epoch.
    """

    fixed: Fixed
    first: int
    at: float


class Noted(NamedTuple):
    """Something about the whole run, as JSON.

    Args:
        name: What.
        value: Its value, as JSON.
    """

    name: str
    value: str


Change: TypeAlias = (
    "Intent | Retracted | Refused | GetsRefused | Accepted | Ended | Kept | Again | First | Copied | Noted"
)


class Entry(NamedTuple):
    """A row as a journal has it, with its result once it has ended.

    Args:
        fixed: What it is.
        state: How far it is.
        attempt: Its last attempt, from 1; 0 where there was none.
        doubtful: How many attempts may have been billed without a result.
        request_id: What its last request is known by to the service.
        operation_id: Its last operation; empty where none is known.
        submitted: When its last request left, in seconds since the epoch.
        seq: Its place in the order in which rows ended, from 1; 0 where it has not.
        result: How it ended; `None` where it has not.
    """

    fixed: Fixed
    state: State
    attempt: int
    doubtful: int
    request_id: str
    operation_id: str
    submitted: float | None
    seq: int
    result: Result | None


class Moment(NamedTuple):
    """What figures over time need of a row that has ended.

    Args:
        number: The row.
        submitted: When its last request left, in seconds since the epoch; `None` where none did.
        ended: When its result came.
        outcome: How it ended.
        input_tokens: What it used.
        output_tokens: What it used.
    """

    number: int
    submitted: float | None
    ended: float
    outcome: str
    input_tokens: int
    output_tokens: int


class Totals(NamedTuple):
    """What a run has used so far.

    Args:
        input_tokens: Tokens of all inputs.
        output_tokens: Tokens of all answers.
        cost: In roubles; `None` where the price of any is not known, or nothing was used.
        doubtful: How many attempts may have been billed without a result.
        repeated: How many attempts ended without being the last of their row.
    """

    input_tokens: int
    output_tokens: int
    cost: float | None
    doubtful: int
    repeated: int
