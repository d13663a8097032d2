"""Prints the tables of docs/reliability.md that say what is sent again, from the code that decides it.

    python scripts/retry_tables.py            writes them into the page, between its two markers
    python scripts/retry_tables.py --check    writes nothing; prints a diff, and ends with 1, where they differ

Rules: every cell is computed by `classify` and `decide`; nothing about a status or a cause is written here.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from yagrpc import methods
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import POLICIES, Kind, policy_of
from yagrpc._core.failure.pauses import attempt_timeout
from yagrpc._core.failure.retry import Action, History, decide
from yagrpc._core.failure.status import Cause, Failure, RpcStatus, classify
from yagrpc._grpc.status import NEVER_FROM_GRPC
from yagrpc.errors import CallError, Code
from yagrpc.method import AnyMethod

PAGE: Final = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN: Final = "<!-- printed by scripts/retry_tables.py: begin -->\n"
END: Final = "<!-- printed by scripts/retry_tables.py: end -->\n"


class Row(NamedTuple):
    """A kind of call.

    Args:
        name: What the tables call it.
        method: A method of the kind.
        resubmit: Whether its caller says `resubmit=True`.
        listed: Whether its methods are listed.
    """

    name: str
    method: AnyMethod
    resubmit: bool = False
    listed: bool = False


ROWS: Final = (
    Row("a read", methods.TokenizerService.Tokenize, listed=True),
    Row("a generation", methods.TextGenerationService.Completion, listed=True),
    Row("a generation with `resubmit=True`", methods.TextGenerationService.Completion, resubmit=True),
    Row("any other call", methods.IamTokenService.Revoke),
)
AGAIN: Final = {Action.RETRY, Action.REQUEUE, Action.RENEW}


def action(row: Row, failure: Failure, *, queued: bool = False) -> Action:
    """What follows the first attempt of a call that has time left."""
    policy = policy_of(row.method)
    history = History()
    history.failed(failure, policy.kind)
    return decide(policy, history, left=None, resubmit=row.resubmit, queued=queued).action


def follows(row: Row, code: Code, *, from_peer: bool) -> Action:
    """What follows a status."""
    call: Call[Any, Any] = Call(row.method, policy_of(row.method), None, None, (), "")
    status = RpcStatus(code, from_peer=from_peer)
    return action(row, classify(status, call, endpoint="", send_limit=-1))


def statuses(row: Row) -> str:
    """The statuses after which a call is sent again."""
    codes = [code for code in Code if code is not Code.OK]
    proved = [code for code in codes if follows(row, code, from_peer=True) in AGAIN]
    unproved = [code for code in codes if code not in NEVER_FROM_GRPC and follows(row, code, from_peer=False) in AGAIN]
    parts = {
        "": [code for code in proved if code in unproved],
        "only where it is proved that the service sent it: ": [code for code in proved if code not in unproved],
        "only where that is not proved: ": [code for code in unproved if code not in proved],
    }
    return "; ".join(intro + ", ".join(code.name for code in part) for intro, part in parts.items() if part)


def attempts(row: Row) -> str:
    """How often a call is sent."""
    actions = {follows(row, code, from_peer=True) for code in Code if code is not Code.OK}
    number = policy_of(row.method).attempts if Action.RETRY in actions else 1
    return f"{number}, and one with a new token" if Action.RENEW in actions else str(number)


def methods_of(kind: Kind) -> str:
    """The rpcs of a kind that have a row of their own."""
    paths = [path for path, policy in POLICIES.items() if policy.kind is kind]
    return ", ".join(f"`{path.rpartition('.')[2].replace('/', '.')}`" for path in paths)


def limits(row: Row) -> str:
    """How long each attempt may take."""
    policy = policy_of(row.method)
    seconds = [attempt_timeout(policy, attempt, None) for attempt in range(1, policy.attempts + 1)]
    if seconds == [None] * len(seconds):
        return "what is left of the timeout"
    return ", ".join("the rest" if limit is None else f"{limit:g} s" for limit in seconds)


def by_call() -> Iterator[str]:
    """The table of what is sent again."""
    yield "| call | sent again after | attempts at most | seconds for each |"
    yield "| --- | --- | --- | --- |"
    for row in ROWS:
        name = f"{row.name}: {methods_of(policy_of(row.method).kind)}" if row.listed else row.name
        yield f"| {name} | {statuses(row)} | {attempts(row)} | {limits(row)} |"


def by_cause() -> Iterator[str]:
    """The table of what each cause leads to."""
    yield f"| what happened | {' | '.join(row.name for row in ROWS)} |"
    yield f"| --- |{' --- |' * len(ROWS)}"
    for cause in Cause:
        # The status is one that may pass: what follows another is in the first table.
        failure = Failure(cause, CallError("", code=Code.UNAVAILABLE))
        yield f"| {cause.value} | {' | '.join(action(row, failure).value for row in ROWS)} |"
        if cause is Cause.QUOTA:
            queued = [action(row, Failure(cause, failure.error, "unnamed"), queued=True).value for row in ROWS]
            yield f"| {cause.value}, and the client keeps it too (`quota=`) | {' | '.join(queued)} |"


def printed() -> str:
    """What stands between the markers."""
    return "\n".join(
        ["", *by_call(), "", "What each failure leads to, while time and attempts are left:", "", *by_cause(), "", ""]
    )


def main() -> int:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    page = PAGE.read_text("utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no markers")
    wanted = before + begin + printed() + end + after
    if not check:
        PAGE.write_text(wanted, "utf-8")
        return 0
    difference = difflib.unified_diff(page.splitlines(), wanted.splitlines(), str(PAGE), "printed", lineterm="")
    lines = list(difference)
    print(*lines, sep="\n", end="\n" if lines else "")
    return int(page != wanted)


if __name__ == "__main__":
    sys.exit(main())
