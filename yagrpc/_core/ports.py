"""What the loop needs of the client that it runs for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from yagrpc._core.auth.authorization import Authorizer
    from yagrpc._core.call.call import Call
    from yagrpc._core.deadline import Clock, Deadline
    from yagrpc._core.events import Hub
    from yagrpc._core.flow import Flow
    from yagrpc._core.quota.gates import Gate
    from yagrpc.method import AnyMethod


class Route(NamedTuple):
    """Where the calls of one method go; the same for all of them.

    Args:
        endpoint: `host:port`.
        send_limit: The largest request that its channel sends, in bytes; -1 for any.
        gate: The queue for its quotas; `None` where nothing limits it.
        proxy: The proxy that its channel connects through, for errors; empty where there is none.
    """

    endpoint: str
    send_limit: int = -1
    gate: Gate | None = None
    proxy: str = ""


class Ports(Protocol):
    """What the loop needs of the client that it runs for."""

    clock: Clock
    authorizer: Authorizer | None
    events: Hub
    routes: dict[AnyMethod, Route]

    def jitter(self) -> float:
        """What a pause is multiplied by, about 1."""
        ...

    def find_route(self, call: Call[Any, Any], deadline: Deadline) -> Flow[Route]:
        """Where a call goes that is not in `routes` yet; asks endpoint discovery where that has to be found."""
        ...


NOWHERE: Final = Route("")
"""The route of a call whose endpoint is not known yet."""
