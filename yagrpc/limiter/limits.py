"""`Limits`: slots under a folder's quotas for calls that yagrpc does not send.

The service counts the calls of its other interfaces, such as the one that OpenAI's client speaks, under the same
quotas. A program that uses both asks here before each of its own calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from yagrpc import config
from yagrpc._core.call.parameters import checked_timeout
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.grants import of_all
from yagrpc._core.quota.windows import Slot, rules_of
from yagrpc._grpc.fork import renew_after_fork
from yagrpc._grpc.loops import settle
from yagrpc._grpc.runtime import RUNTIME
from yagrpc._grpc.waits.threads import Waiter
from yagrpc.config import Quota
from yagrpc.errors import ConfigError, LimiterError, QuotaWaitError, RequestError
from yagrpc.foreign import cleaned
from yagrpc.limiter import hidden_share, limiter_of, place_of
from yagrpc.limiter.share import AUTO, store_of
from yagrpc.limiter.store import StoreError
from yagrpc.quotas import Limit, QuotaUse, Used

if TYPE_CHECKING:
    from yagrpc._core.quota.grants import Limiter, OnFailure
    from yagrpc.limiter import ShareInput
    from yagrpc.quantities import Seconds

Kind: TypeAlias = Literal["completion", "submit", "tokenize", "embeddings", "classification", "images", "get"]
"""Kinds of calls."""

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "completion": ("concurrent_completions",),
    "submit": ("submit_per_second", "submit_per_hour"),
    "tokenize": ("tokenize_per_second",),
    "embeddings": ("embeddings_per_second",),
    "classification": ("classification_per_second",),
    "images": ("images_per_minute", "images_per_day"),
    "get": ("get_per_second",),
}
"""The quotas that each kind of call counts under, as in `Quota`."""


class Limits:
    """The quotas of a folder, shared with all clients and processes that name the same `share`.

        limits = yagrpc.Limits("b1g...", share="auto")
        with limits.acquire("embeddings"):
            openai_client.embeddings.create(...)

    Args:
        folder_id: The folder; by default `YC_FOLDER_ID`.
        quota: Its quotas.
        share: Where they are counted: `auto` (a file below the user's cache), the path of a file, or `redis://...`; by
            default what `YAGRPC_SHARE` says, and else `auto`.
        on_limiter_failure: What happens while that can't be reached: `local` counts here, with an equal part of each
            quota for each process that was there last; `error` raises a `LimiterError`.

    Raises:
        ConfigError: A setting can't work.
    """

    def __init__(
        self,
        folder_id: str | None = None,
        *,
        quota: Quota = Quota(),
        share: ShareInput = None,
        on_limiter_failure: OnFailure = "local",
    ) -> None:
        share = hidden_share(share)
        checked, _ = config.check_settings(quota, config.Polling())
        if checked is None:
            raise ConfigError("quota is None: Limits needs the quotas that it keeps")
        limiter = limiter_of(share, on_limiter_failure, AUTO)(config.resolve_folder(folder_id), checked)
        assert limiter is not None
        self._limiter: Limiter = limiter
        self._rules = {rule.name: rule for rule in rules_of(checked)}
        self._gates = self._new_gates()
        self._closed = False
        renew_after_fork(self)

    def _new_gates(self) -> dict[str, Gate]:
        """The gates by the kinds of calls, without those of calls that nothing limits."""
        return {
            kind: Gate(
                *(self._rules[name].local() for name in names if name in self._rules),
                make_lock=RUNTIME.make_lock,
                grants=self._limiter.grants,
            )
            for kind, names in KINDS.items()
            if any(name in self._rules for name in names)
        }

    def forked(self) -> None:
        """Called in a forked child: the slots, and the places in the queues, are the parent's."""
        if not self._closed:
            for gate in self._gates.values():
                gate.forked()
            self._limiter.forked()
            self._gates = self._new_gates()

    def acquire(self, kind: Kind, timeout: Seconds | None = None) -> Acquired:
        """A slot for one call, as a context manager: `with` or `async with`; the slot is given back at its end.

        Args:
            kind: What is called: `completion` (synchronous), `submit` (asynchronous), `tokenize`, `embeddings`,
                `classification`, `images` or `get` (of an operation).
            timeout: Seconds to wait at most; `None` for no limit.

        Raises:
            RequestError: There is no such kind, or the timeout is no time.
            QuotaWaitError: There is no slot in time; raised at `with`.
            LimiterError: The limiter can't be reached, and calls are to fail then; raised at `with`.
        """
        if not isinstance(kind, str) or kind not in KINDS:
            raise RequestError("kind", kind, f"it is one of {', '.join(KINDS)}")
        return Acquired(self._gates.get(kind), checked_timeout(timeout))

    @property
    def used(self) -> QuotaUse:
        """What all processes have used of each quota by now, and what is left."""
        nothing = QuotaUse(*[Limit(None, 0, None, 0)] * len(QuotaUse._fields))
        gates = self._gates.values()
        own = {limit.name: Limit(None, 0, None, len(gate)) for gate in gates for limit in gate.limits}
        return of_all(nothing._replace(**own), self._limiter.used())

    def participants(self) -> list[Used]:
        """What each process uses of each quota; empty where the limiter can't be reached."""
        return self._limiter.used()

    def close(self) -> None:
        """End every wait for a slot; closing twice does nothing."""
        self._closed = True
        for gate in self._gates.values():
            gate.close()
        self._limiter.close()

    def __enter__(self) -> Limits:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Acquired:
    """One slot, for a `with` or an `async with` block.

    Args:
        gate: The gate of its quotas; `None` where nothing limits it.
        timeout: Seconds to wait at most; `None` for no limit.
    """

    def __init__(self, gate: Gate | None, timeout: float | None) -> None:
        self._gate = gate
        self._timeout = timeout
        self._slot: Slot | None = None

    def __enter__(self) -> Acquired:
        waiter = Waiter()
        with self._joined(waiter.wake) as (slot, deadline):
            while slot is not None and (seconds := self._taken(slot, deadline)) is not None:
                waiter.sleep(seconds)
                waiter.woken = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        slot, self._slot = self._slot, None
        if slot is not None and self._gate is not None:
            self._gate.answered(slot, time.monotonic())
            self._gate.give_back(slot)

    async def __aenter__(self) -> Acquired:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # a closed loop has no waiters
                loop.call_soon_threadsafe(lambda: settle(woken))

        with self._joined(wake) as (slot, deadline):
            while slot is not None and (seconds := self._taken(slot, deadline)) is not None:
                await asyncio.wait([woken], timeout=None if seconds == math.inf else seconds)
                woken = loop.create_future()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    @contextlib.contextmanager
    def _joined(self, wake: Callable[[], object]) -> Any:
        """A place in the queue, and until when to wait; it is given back where the wait ends without a slot."""
        if self._gate is None:
            yield None, math.inf
            return
        if self._slot is not None:
            raise RuntimeError("a slot is acquired once: call acquire() for each call")
        self._slot = slot = self._gate.join(Slot(wake))
        deadline = math.inf if self._timeout is None else time.monotonic() + self._timeout
        try:
            yield slot, deadline
        except BaseException:
            self._slot = None
            self._gate.give_back(slot)
            raise
        slot.wake = None
        self._gate.sent(slot, time.monotonic())

    def _taken(self, slot: Slot, deadline: float) -> float | None:
        """`None` once the slot is there; else how many seconds to wait for it.

        Raises:
            QuotaWaitError: It is not there in time.
        """
        assert self._gate is not None
        now = time.monotonic()
        seconds = self._gate.take(slot, now)
        if seconds is None:
            return None
        quota, least = self._gate.bound(slot, now)
        if least > deadline - now or deadline <= now:
            refusal = self._gate.refusal(slot, now)
            raise QuotaWaitError(quota, least if least > 0 else None, timeout=self._timeout or 0.0, refusal=refusal)
        return min(seconds, deadline - now)


def quota_use(folder_id: str | None = None, *, share: ShareInput = None) -> list[Used]:
    """What each process uses of a folder's shared quotas; who asks takes no part.

    Args:
        folder_id: The folder; by default `YC_FOLDER_ID`.
        share: Where they are counted, as for `Limits`.

    Returns:
        One row for each quota and process; a quota of which nothing is used has one row without a process.

    Raises:
        ConfigError: A setting can't work.
        LimiterError: The place can't be reached.
    """
    share = hidden_share(share)
    place = place_of(share, AUTO)
    assert place is not None
    store = store_of(place, config.resolve_folder(folder_id))
    try:
        return store.used()
    except StoreError as error:
        raise LimiterError(f"the shared limiter {store.name} can't be reached: {cleaned(str(error))}") from None
    finally:
        store.close()
