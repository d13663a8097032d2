"""The errors of a client that is closed, and of a server that has no room."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from yagrpc.errors.base import YagrpcError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import CallContext, Context

__all__ = ["ClientClosedError", "ServerBusyError"]


class ClientClosedError(YagrpcError):
    """The client was closed before a call, or during a wait for an operation.

    Args:
        operation_id: The operation of the wait, if any; closing the client does not stop it.
        **context: As for any `YagrpcError`.
    """

    _summarized: ClassVar[tuple[str, ...]] = ("operation_id",)

    def __init__(self, operation_id: str = "", **context: Unpack[CallContext]) -> None:
        super().__init__("the client is closed", operation_id=operation_id, **context)

    def _summary(self) -> str:
        running = f"; operation {self.operation_id} may still run, and can be waited for again"
        return f"{self.message}{running if self.operation_id else ''}"


class ServerBusyError(YagrpcError):
    """As many handlers of a server's own operations run as may run at once; nothing was stored or started.

    Args:
        limit: How many may.
        **context: As for any `YagrpcError`.
    """

    def __init__(self, limit: int, **context: Unpack[Context]) -> None:
        self.limit = limit
        super().__init__(f"most_running is {limit}, and so many handlers run: call again later", **context)
