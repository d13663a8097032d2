"""What the page shows, as JSON: the operations, the calls of each method, the quotas, the faults and the clock.

Rules: it reads the state and changes nothing. It is taken only while a page is open.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import json_format

from yagrpc import _pb
from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.emulator.state import State

__all__ = ["SHOWN", "snapshot"]

SHOWN: Final = 200
"""How many operations are listed: the last ones."""


def snapshot(state: State) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        state: The emulated cloud.
    """
    now = state.clock.now()
    records = state.operations.records(now)
    minute = state.received.last_minute(now)
    return {
        "now": now,
        "frozen": state.clock.frozen,
        "running": sum(not record.done for record in records),
        "done": sum(record.done for record in records),
        "operations": [_operation(state, record, now) for record in reversed(records[-SHOWN:])],
        "methods": [
            {"path": path, "calls": calls, "refusals": refusals} for path, (calls, refusals) in sorted(minute.items())
        ],
        "quotas": [use._asdict() for use in state.quotas.use(now)],
        "faults": [
            {"fault": json_format.MessageToDict(fault.message, descriptor_pool=_pb.POOL), "applied": applied}
            for fault, applied in state.faults.list()
        ],
    }


def _operation(state: State, record: OperationRecord, now: float) -> dict[str, Any]:
    return {
        "id": record.id,
        "number": record.number,
        "age": max(0.0, now - record.created),
        "left": None if record.done or record.ends == float("inf") else record.ends - now,
        "done": record.done,
        "model": record.model,
        "words": record.words,
        "tokens": state.operations.tokens(record.id, now),
    }
