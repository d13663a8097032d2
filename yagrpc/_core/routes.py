"""How the calls of a method go: which flow decides on them, over which channel, under which quota.

Rules: no I/O. It is the same for every call of a method, so it is looked up once: that is part of what a call costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc._core import send as sending
from yagrpc._core.failure import retry
from yagrpc._core.flow import AnyMethod, Call, Flow
from yagrpc._core.quota.admission import limited

if TYPE_CHECKING:
    from yagrpc._core.quota.gates import Gate, Gates

_FLOWS: Final[dict[retry.Kind, Callable[[sending.Attempts], Flow[Any]]]] = {
    retry.Kind.READ: sending.read,
    retry.Kind.GENERATION: sending.generate,
    retry.Kind.OTHER: sending.once,
}


class Route(NamedTuple):
    """How the calls of one method go.

    Args:
        decide: Makes the flow of a call from its attempts.
        way: The channel.
        gate: What limits it; `None` for nothing.
    """

    decide: Callable[[sending.Attempts], Flow[Any]]
    way: sending.Way
    gate: Gate | None

    def flow(self, call: Call[Any, Any], clock: sending.Clock) -> Flow[Any]:
        """The flow of one call."""
        flow = self.decide(sending.Attempts(call, self.way, clock))
        return flow if self.gate is None else limited(flow, call, self.gate, clock)


def route_of(method: AnyMethod, way: sending.Way, gates: Gates) -> Route:
    """The route of a method."""
    return Route(_FLOWS[retry.kind_of(method)], way, gates.of(method.path))
