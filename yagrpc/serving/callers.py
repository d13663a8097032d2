"""The caller of a handler, from what came with its request; and the block in which a handler works for it.

Rules: what a caller sends may be anything: a value that can't be sent on is left out, and never an error.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from yagrpc.context import CURRENT, Caller
from yagrpc.errors import ConfigError
from yagrpc.foreign import ID
from yagrpc.hiding import shown
from yagrpc.quantities import seconds

if TYPE_CHECKING:
    from yagrpc.errors import YagrpcError
    from yagrpc.quantities import Seconds

MARGIN: Final = 0.05
"""Seconds that a handler keeps of its caller's deadline, so that its own answer arrives in time."""

OPERATION_ID: Final = "yagrpc-operation-id"
"""Trailing metadata, or a header, with the id of an operation whose outcome the caller does not have."""

MOST_IDS: Final = 50
"""Ids of operations that one answer has at most: metadata have a limit of 8 KiB."""

REQUEST_IDS: Final = ("x-client-request-id", "x-request-id")
"""Where a caller may have put its id of the request; the first that is there counts."""

_TRACE: Final = {
    "traceparent": r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?",
    "tracestate": r"[ -~]{1,512}",
    "x-client-trace-id": rf"[!-~]{{1,{ID}}}",
}
"""What is passed on, and what each may be."""

_UNITS: Final = {"": 1.0, "H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
"""Seconds of the units of `grpc-timeout`; a number without one is seconds."""

_NEVER: Final = 1e9
"""Seconds, about thirty years. For a caller without a deadline, gRPC reports 9e18 seconds left."""

log = logging.getLogger("yagrpc.serving")


def checked_seconds(name: str, value: Seconds | None, *, optional: bool = False) -> float | None:
    """A setting in seconds.

    Raises:
        ConfigError: It is no span of time, or below 0.
    """
    if value is None and optional:
        return None
    found = seconds(value)
    if found is None or found < 0:
        none = ", or None for no limit" if optional else ""
        raise ConfigError(f"{name} is {shown(value)}: it takes seconds, 0 or more, or a timedelta{none}")
    return found


def seconds_in(pairs: Iterable[tuple[Any, Any]], name: str) -> float | None:
    """The seconds that a header has, as a number, or as gRPC writes a timeout; `None` where it has none."""
    text = next((_text(value) for key, value in pairs if _text(key).lower() == name), "")
    found = re.fullmatch(r"([0-9]{1,8}(?:\.[0-9]{1,9})?)([HMSmun]?)", text)
    return None if found is None else float(found[1]) * _UNITS[found[2]]


def new_caller(pairs: Iterable[tuple[Any, Any]], left: float | None, margin: float, *, request_id: str = "") -> Caller:
    """A caller, from now on.

    Args:
        pairs: The metadata or headers that came, of text or bytes.
        left: Seconds until its deadline; `None` where it has none.
        margin: Seconds of these that are not for calls.
        request_id: Its id of the request, where it is known.
    """
    found: dict[str, str] = {}
    for key, value in pairs:
        name = _text(key).lower()
        if name in _TRACE or name in REQUEST_IDS:
            found.setdefault(name, _text(value))
    metadata = tuple((name, found[name]) for name, form in _TRACE.items() if re.fullmatch(form, found.get(name, "")))
    ids = (request_id, *(found.get(name, "") for name in REQUEST_IDS))
    usable = (each for each in ids if re.fullmatch(rf"[!-~]{{1,{ID}}}", each))
    if left is None or left > _NEVER:
        return Caller(request_id=next(usable, ""), metadata=metadata)
    until = time.monotonic() + left - margin
    return Caller(lambda: until - time.monotonic(), request_id=next(usable, ""), metadata=metadata)


def caller() -> Caller:
    """The caller of the handler that runs.

    Raises:
        ConfigError: None does here.
    """
    found = CURRENT.get()
    if found is None:
        raise ConfigError(
            "there is no caller here: use it in a handler that an interceptor or the middleware of yagrpc.serving "
            "wraps, or in a block of yagrpc.serving.handling()"
        )
    return found


def owed(caller: Caller, error: YagrpcError | None = None) -> list[str]:
    """The ids of the operations that a caller does not have the outcome of, those of its error first."""
    found = dict.fromkeys(() if error is None else (error.operation_id, *getattr(error, "operation_ids", ())))
    return [each for each in {**found, **caller.operations} if each][:MOST_IDS]


def log_owed(caller: Caller) -> None:
    """Log the operations that nobody waits for any more, so that their ids can be found."""
    if caller.gone:
        for operation_id in caller.operations:
            extra = {"operation_id": operation_id, "client_request_id": caller.request_id}
            text = "operation %s has no caller any more; it can be waited for again by its id (client request id %s)"
            log.info(text, operation_id, caller.request_id or "-", extra=extra)


class handling:
    """A block that works for one caller, in whatever server: calls of any client inside it are the caller's.

    It works as `with` and as `async with`, and gives the `Caller`: call its `leave()` when the caller has left.

    Args:
        timeout: Seconds that the caller waits from now; `None` for no limit.
        margin: Seconds of these that are kept for the answer.
        metadata: The metadata or headers that came: `traceparent`, `x-client-trace-id` and the request id are used.
        request_id: The caller's id of the request; by default the one in the metadata.

    Raises:
        ConfigError: A setting can't work, or a block is used twice.
    """

    def __init__(
        self,
        *,
        timeout: Seconds | None = None,
        margin: Seconds = MARGIN,
        metadata: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        request_id: str = "",
    ) -> None:
        kept = checked_seconds("margin", margin) or 0.0
        pairs = metadata.items() if isinstance(metadata, Mapping) else metadata
        left = checked_seconds("timeout", timeout, optional=True)
        try:
            self._caller = new_caller(pairs, left, kept, request_id=str(request_id))
        except (TypeError, ValueError):
            raise ConfigError("metadata takes pairs of key and value, or a mapping of them") from None
        self._tokens: list[Token[Caller | None]] = []
        self._used = False

    def __enter__(self) -> Caller:
        if self._used:
            raise ConfigError("this block was used before: call yagrpc.serving.handling() again for each caller")
        self._used = True
        self._tokens.append(CURRENT.set(self._caller))
        return self._caller

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(ValueError):  # it was left in another context, as some frameworks do with generators
            CURRENT.reset(self._tokens.pop())
        self._caller.finish()
        log_owed(self._caller)

    async def __aenter__(self) -> Caller:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
