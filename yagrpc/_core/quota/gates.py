"""The quotas that calls are kept under before they are sent: who has a slot now, and when there is one.

A call that finds no slot queues at the gate of its method, first come, first served.

Rules: no I/O and no clock, `now` is given. A gate's lock is reentrant and what it guards is changed by single steps
on sets and deques, since a slot may be given back by the garbage collector, in any thread and between any two steps.
The exception of a signal may come between any two steps, too: a slot can be given back after each of them, and twice.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import deque
from typing import TYPE_CHECKING, Final

from yagrpc._core.call.policy import POLICIES
from yagrpc._core.quota.windows import Gauge, Rule, Slot, Window, rules_of
from yagrpc._core.runtime import MakeLock
from yagrpc.config import Quota
from yagrpc.errors import ClientClosedError

if TYPE_CHECKING:
    from yagrpc._core.quota.grants import Grants
    from yagrpc.quotas import Limit, QuotaUse

LONGEST_PAUSE: Final = 60.0
"""Seconds for which a refusal holds the calls of a quota back at most; refusals in a row double it up to that."""

_FIRST_PAUSE: Final = 1.0

_UNIT: Final = r"Per(Second|Minute|Hour|Day)\b"
"""How the service's ids of quotas end."""


class Gate:
    """What the calls that share quotas pass, one after the other.

    Args:
        *limits: The quotas; each call takes a slot of every one.
        make_lock: Makes a reentrant lock.
        grants: What a limiter grants that other processes share; `None` for quotas of this client alone.
    """

    def __init__(self, *limits: Window | Gauge, make_lock: MakeLock, grants: Grants | None = None) -> None:
        self.limits = limits
        self._rules = tuple(Rule(limit.name, limit.limit, limit.window) for limit in limits)
        self._grants = grants
        self._queue: deque[Slot] = deque()
        self._make_lock = make_lock
        self._lock = make_lock()
        self._counts = any(isinstance(limit, Gauge) for limit in limits)
        self._paused_until = -math.inf
        self._refused = 0
        self._refusal = ""
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    def join(self, slot: Slot | None = None) -> Slot:
        """A place in the queue; take it to `take`, and back to `give_back` in the end.

        A call that waits `again`, since the service refused it, goes before all that were never sent.

        Args:
            slot: A new one, which its caller keeps, so that it can be given back whatever happens here.
        """
        slot = Slot() if slot is None else slot
        if not slot.again:
            self._queue.append(slot)
            return slot
        with self._lock:
            before = next((index for index, other in enumerate(self._queue) if not other.again), len(self._queue))
            self._queue.insert(before, slot)
        return slot

    def take(self, slot: Slot, now: float) -> float | None:
        """Pass, if it is this one's turn.

        Returns:
            `None` where it has passed; else how many seconds to wait, if nothing happens before: `inf` where it is
            not at the head, or where a call has to end first.

        Raises:
            ClientClosedError: The client was closed, or the place given back meanwhile.
        """
        with self._lock:
            slot.woken = False
            if self._closed or not slot.queued:
                raise ClientClosedError
            if self._queue[0] is not slot:
                return math.inf
            free_at = max(self._paused_until, *(limit.free_at(now) for limit in self.limits))
            if free_at > now:
                return free_at - now
            if self._grants is not None and (seconds := self._grants.ask(slot, self._rules, now)) is not None:
                return seconds
            for limit in self.limits:
                limit.use(slot)
            self._queue.popleft()
            slot.queued = False
            self._notify_head()
            return None

    def bound(self, slot: Slot, now: float) -> tuple[str, float]:
        """The quota that a place in the queue waits for longest, and how many seconds it waits at least."""
        with self._lock:
            newest = not slot.queued or self._queue[-1] is slot  # as it mostly is; else it takes a search
            ahead = max(0, len(self._queue) - 1) if newest else self._queue.index(slot)
            seconds, name = max((limit.earliest(ahead, now) - now, limit.name) for limit in self.limits)
            if self._grants is not None and (waits := self._grants.waits_for(self._head(slot), now)) is not None:
                name, seconds = max(((name, seconds), waits), key=lambda each: each[1])
            return name, seconds if self._counts else max(seconds, self._paused_until - now)

    def refusal(self, slot: Slot, now: float) -> str:
        """What the service said when it refused the call for which all others are held back; empty for none."""
        if self._paused_until > now:
            return self._refusal
        return "" if self._grants is None else self._grants.refusal(self._head(slot))

    def refused_quota(self, refusal: str) -> str | None:
        """Which of the quotas a refusal of the service names, by its unit of time; `None` where that is not plain."""
        unit = re.search(_UNIT, refusal)
        named = [limit.name for limit in self.limits if unit and limit.name.endswith(f"_per_{unit[1].lower()}")]
        return named[0] if len(named) == 1 else None

    def sent(self, slot: Slot, now: float) -> None:
        """The call leaves."""
        if self._grants is not None and slot.sent == math.inf:
            self._grants.sent(slot, now)
        slot.sent = now

    def answered(self, slot: Slot, now: float) -> None:
        """The service has answered, and not by a refusal; of a stream, with its first message."""
        if self._grants is not None and slot.answered == math.inf:
            self._grants.answered(slot)
        with self._lock:
            slot.answered = min(slot.answered, now)
            self._refused = 0
            self._notify_head()

    def refused(self, slot: Slot, now: float, refusal: str = "") -> None:
        """The service refused it, as the quota is used up, by whomever: nothing leaves for a while.

        Args:
            slot: Of the call that was refused.
            now: The time, in seconds.
            refusal: What the service said.
        """
        with self._lock:
            self._refusal = refusal
            paused_until = self._paused_until
            if self._grants is not None:
                pause = min(LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._refused, 16))
                self._grants.refused(slot, self.refused_quota(refusal), pause, refusal)
            self.give_back(slot)
            self._paused_until = paused_until  # this one shows no free slot
            slot.answered = min(slot.answered, now)
            if self._paused_until <= now:  # of those that were under way together, one counts
                self._paused_until = now + min(LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._refused, 16))
                self._refused += 1
            self._notify_head()

    def give_back(self, slot: Slot) -> None:
        """The call has ended, or is not to be sent any more: its place goes to the next."""
        with self._lock:
            if self._grants is not None:
                self._grants.give_back(slot)
            for limit in self.limits:
                limit.give_back(slot)
            if slot.queued:
                with contextlib.suppress(ValueError):  # it had not come into the queue, or had left it
                    self._queue.remove(slot)
                slot.queued = False
                slot.notify()
            elif self._counts:  # the service has a slot again
                self._paused_until = -math.inf
            self._notify_head()

    def close(self) -> None:
        """End every wait."""
        with self._lock:
            self._closed = True
            for slot in list(self._queue):
                slot.notify()

    def forked(self) -> None:
        """In a forked child: only a thread of the parent can hold the lock; garbage collection here returns slots."""
        self._lock = self._make_lock()

    def _head(self, slot: Slot) -> Slot:
        """The first of the queue, which is the one that asks the limiter; the slot itself where there is no queue."""
        try:
            return self._queue[0]
        except IndexError:
            return slot

    def _notify_head(self) -> None:
        """Have the head of the queue check again."""
        try:
            head = self._queue[0]
        except IndexError:
            return
        head.notify()


class Gates:
    """A client's gates: calls of the same quotas share one. Several clients of one folder may have the same gates.

    Args:
        quota: The quotas; `None` for none.
        make_lock: Makes a reentrant lock.
        grants: What a limiter grants that other processes share; `None` for quotas of this client alone.
        user: What its client is known by.
    """

    def __init__(
        self, quota: Quota | None, make_lock: MakeLock, grants: Grants | None = None, user: object = None
    ) -> None:
        self._users = {user}
        self._closed = False
        self._lock = make_lock()
        rules = {rule.name: rule for rule in rules_of(quota)}
        self._gates: dict[tuple[str, ...], Gate] = {}
        for names in {policy.quotas: None for policy in POLICIES.values()}:
            own = [rules[name].local() for name in names if name in rules]
            if own:
                self._gates[names] = Gate(*own, make_lock=make_lock, grants=grants)

    def of(self, quotas: tuple[str, ...]) -> Gate | None:
        """The gate of some quotas; `None` where nothing limits them."""
        return self._gates.get(quotas)

    def join(self, user: object) -> bool:
        """Have another client use them, until it closes them; gives whether it may: after their end nobody may."""
        with self._lock:
            if not self._closed:
                self._users.add(user)
            return not self._closed

    def close(self, user: object = None) -> None:
        """End every wait for a slot, once no client uses them; a client ends the waits of its own calls itself."""
        with self._lock:
            self._users.discard(user)
            self._closed = not self._users
        for gate in self._gates.values() if self._closed else ():
            gate.close()

    def forked(self) -> None:
        """In a forked child: renew the locks of what is the parent's."""
        for gate in self._gates.values():
            gate.forked()

    def used(self, now: float, gets: Limit) -> QuotaUse:
        """What is used and what is left.

        Args:
            now: The time, in seconds.
            gets: The quota of Gets, which the scheduler of operations keeps.
        """
        from yagrpc.quotas import Limit, QuotaUse  # few ask

        found = {
            limit.name: Limit(limit.limit, used := limit.used(now), limit.size - used, len(gate))
            for gate in self._gates.values()
            for limit in gate.limits
        }
        nothing = Limit(None, 0, None, 0)
        return QuotaUse(*({"get_per_second": gets, **found}.get(name, nothing) for name in QuotaUse._fields))
