"""What commands print of results, and the wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.io.output import print_json, print_text, waiting
from yagrpc.cli.io.render import operation_json
from yagrpc.errors import OperationError

if TYPE_CHECKING:
    from yagrpc import Operation
    from yagrpc.results import Completion

__all__ = ["deliver", "note_status"]


def deliver(awaited: Operation[Any], timeout: float | None, *, as_json: bool) -> None:
    """Wait for an operation of a text completion, and print its text or, as JSON, all of it.

    As JSON, an operation that failed is printed too, before the failure is raised, and one that has another result
    than a completion is as good as any.
    """
    from yagrpc import methods
    from yagrpc.results import Completion

    # Loaded before anything is waited for: an interrupt in the middle of an import leaves warnings behind.
    _ = methods.OperationService.Get.request_type
    try:
        with waiting(f"waiting for operation {awaited.id}"):
            result = awaited.result(timeout)
    except OperationError:
        if as_json and awaited.proto.done:
            print_json(operation_json(awaited.proto))
            if awaited.proto.HasField("response"):
                return
        raise
    if as_json:
        print_json(operation_json(awaited.proto))
        return
    answer = result if isinstance(result, Completion) else Completion(result)
    print_text(answer.text)
    note_status(answer)


def note_status(completion: Completion) -> None:
    """Say on stderr if an answer is not simply finished."""
    from yagrpc.results import CompletionStatus

    notes = {
        CompletionStatus.TRUNCATED_FINAL: "the answer was cut at its limit of tokens",
        CompletionStatus.CONTENT_FILTER: "the answer was stopped by the service's content filter",
        CompletionStatus.TOOL_CALLS: "the answer is tool calls, not text; JSON shows them",
    }
    for status, note in notes.items():
        if completion.status == status:
            click.echo(f"yagrpc: note: {note}", err=True)
