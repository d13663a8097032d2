"""What a command says of its submit, if it ends without the operation that the service may have accepted.

Rules: an id that has come is never lost. The caller of a submit may leave before it (Ctrl-C, its timeout), and closing
the client waits for the answer a moment longer: so what is known is reported after that. This module loads gRPC.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from yagrpc._core.events import Events
from yagrpc.cli.io.failures import InterruptedByUser, still_running
from yagrpc.cli.io.output import note
from yagrpc.errors import AmbiguousSubmitError

if TYPE_CHECKING:
    from yagrpc import Call, Client
    from yagrpc._pb import operation_pb2

__all__ = ["submitting"]


class _Submit(Events):
    """What is known of the submit of one command."""

    def __init__(self) -> None:
        self.request_id = ""
        self.operation_ids: list[str] = []

    def submitting(self, call: Call[Any, Any]) -> None:
        """Keep the id that the service knows the request by."""
        self.request_id = call.client_request_id

    def accepted(self, call: Call[Any, Any], operation: operation_pb2.Operation) -> None:
        """Keep the operation's id."""
        self.operation_ids.append(operation.id)

    def fate(self) -> str:
        """What became of it, as far as is known."""
        if self.operation_ids:
            return still_running(self.operation_ids)
        if not self.request_id:
            return "nothing was sent"
        unknown = f"the service may have accepted the request (client request id {self.request_id})"
        return f"{unknown}, and a second submit may be billed twice"


@contextlib.contextmanager
def submitting(connect: Callable[[Events], Client]) -> Iterator[Client]:
    """A client for a submit; once it is closed, what is known of the submit is reported if its caller does not know.

    Args:
        connect: Creates the client, with these events.

    Raises:
        InterruptedByUser: Ctrl-C was pressed in the block.
    """
    submit, ended = _Submit(), False
    try:
        with connect(submit) as client:
            yield client
            ended = True
    except KeyboardInterrupt:
        raise InterruptedByUser("interrupted" if ended else f"interrupted; {submit.fate()}") from None
    except AmbiguousSubmitError:
        if submit.operation_ids:
            note(f"yagrpc: {submit.fate()}")
        raise
