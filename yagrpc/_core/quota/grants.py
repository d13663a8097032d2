"""Quotas that several processes share: what one process asks for, and what it has been granted.

The service counts what a folder sends, whichever process sends it. So a slot that a gate would give away is asked for
first at a limiter that all processes share. Asking is I/O, and is done by the agent of `yagrpc.limiter`, in its own
thread; what is here is what follows from its answers. A client whose quotas are its own does not load this.

Rules: no I/O, no clock and no thread. The agent's thread calls `answer`, `lost` and `found`, everything else the gate
that guards the slot. Each of them changes single attributes only, so that neither has to wait for the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from yagrpc._core.quota.windows import Gauge, Rule, Slot, Window
from yagrpc.errors import LimiterError
from yagrpc.quotas import Limit, QuotaUse, Used

FRESH: Final = 0.25
"""Seconds for which a granted slot may be used: the limiter counts it from the moment for which it was granted."""

LATE: Final = 0.02
"""Seconds by which a call may leave later than granted without a report to the limiter."""

LOCAL_PAUSE: Final = 0.5
"""Seconds after which a call that has no slot here checks again, while the limiter can't be reached."""

OnFailure: TypeAlias = Literal["local", "error"]
"""What happens to calls while the limiter can't be reached."""


class Granted(NamedTuple):
    """The limiter gave a slot.

    Args:
        seconds: From when on it may be used; a slot of the near future is given as well, so that no process starves. It
            is asked for again when its time has come: calls before it may have been counted later than they were to be.
    """

    seconds: float


class Later(NamedTuple):
    """The limiter has no slot.

    Args:
        quota: The quota that has none.
        seconds: When to ask again.
        least: Seconds until there can be one; 0 where that is not known.
        refusal: What the service said when it refused a call of any process; empty where it refused none.
    """

    quota: str
    seconds: float
    least: float
    refusal: str = ""


class Limiter(Protocol):
    """What shares a client's quotas with other processes."""

    grants: Grants
    """What the client's gates use."""

    def used(self) -> list[Used]:
        """What all processes use; empty where that can't be known now."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...

    def forked(self) -> None:
        """In a forked child: what is open is the parent's, and is not used here."""
        ...


class Grant:
    """One slot that was asked for.

    Args:
        key: A number that no other of this process has.
        slot: For which call.
        rules: Under which quotas.

    Attributes:
        at: When it may be used, or asked for again; infinite until it is answered.
        ahead: Whether it was given for the future, and has to be asked for again then.
        later: Where there was no slot: the answer.
        error: Why the limiter gave no answer.
        local: The quotas that were counted here, as the limiter could not be reached.
        over: Whether it was given back.
    """

    __slots__ = ("ahead", "at", "error", "key", "later", "local", "over", "rules", "slot")

    def __init__(self, key: int, slot: Slot, rules: tuple[Rule, ...]) -> None:
        self.key = key
        self.slot = slot
        self.rules = rules
        self.at = math.inf
        self.ahead = False
        self.later: Later | None = None
        self.error: LimiterError | None = None
        self.local: tuple[Window | Gauge, ...] = ()
        self.over = False


class Change(NamedTuple):
    """What the limiter learns of a grant, or of a quota.

    Args:
        kind: `ask` for one, or `again` for one that was given ahead; `sent` or `answered` where it is counted from now
            on only; `give back`; or `refused` by the service.
        grant: Which.
        quota: Of a refusal: the quota that refuses.
        seconds: Of a refusal: how long nothing is to be sent.
        refusal: Of a refusal: what the service said.
    """

    kind: Literal["ask", "again", "sent", "answered", "give back", "refused"]
    grant: Grant
    quota: str = ""
    seconds: float = 0.0
    refusal: str = ""


class Grants:
    """The slots of one client that a limiter has granted.

    Args:
        post: Has the agent report a change to the limiter, soon; it does not wait.
        clock: Gives passed time, in seconds.
        on_failure: What happens while the limiter can't be reached: `local` counts here, with an equal part of each
            quota for each process that was there last; `error` fails the calls.
    """

    def __init__(self, post: Callable[[Change], object], clock: Callable[[], float], on_failure: OnFailure) -> None:
        self._post = post
        self._clock = clock
        self._on_failure = on_failure
        self._keys = itertools.count(1)
        self._failure: LimiterError | None = None
        self._parts = 1
        self._local: dict[tuple[Rule, ...], tuple[Window | Gauge, ...]] = {}

    def ask(self, slot: Slot, rules: tuple[Rule, ...], now: float) -> float | None:
        """Take a granted slot, or ask for one.

        Args:
            slot: The call's place. It is notified when there is an answer.
            rules: The quotas.
            now: The time, in seconds.

        Returns:
            `None` where the slot is granted; else how many seconds to wait, if the slot is not notified before.

        Raises:
            LimiterError: The limiter can't be reached, and calls are to fail then.
        """
        grant: Grant | None = slot.grant
        if grant is None:
            return self._asked(slot, rules, now)
        if grant.error is not None:
            slot.grant = None
            if self._on_failure == "error":
                raise grant.error
            return self._asked(slot, rules, now)
        if grant.at > now:
            return grant.at - now
        if grant.later is None and now - grant.at <= FRESH:
            if not grant.ahead:
                return None
            grant.at, grant.ahead = math.inf, False
            self._post(Change("again", grant))
            return math.inf
        self.give_back(slot)
        return self._asked(slot, rules, now)

    def waits_for(self, slot: Slot, now: float) -> tuple[str, float] | None:
        """The quota that a slot waits for at the limiter, and how many seconds at least; `None` for none."""
        grant: Grant | None = slot.grant
        if grant is None or grant.at <= now or grant.at == math.inf:
            return None
        if grant.later is not None:
            return grant.later.quota, max(0.0, grant.later.least - grant.later.seconds + grant.at - now)
        return grant.rules[0].name, grant.at - now

    def refusal(self, slot: Slot) -> str:
        """What the service said when it refused another process, where that is why a slot waits; empty otherwise."""
        grant: Grant | None = slot.grant
        return "" if grant is None or grant.later is None else grant.later.refusal

    def sent(self, slot: Slot, now: float) -> None:
        """The call leaves."""
        grant: Grant | None = slot.grant
        if grant is not None and not grant.local and now - grant.at > LATE:
            self._post(Change("sent", grant))

    def answered(self, slot: Slot) -> None:
        """The service has answered; it may have counted the call just now."""
        grant: Grant | None = slot.grant
        if grant is not None and not grant.local and any(rule.seconds for rule in grant.rules):
            self._post(Change("answered", grant))

    def refused(self, slot: Slot, quota: str | None, seconds: float, refusal: str) -> None:
        """The service refused the call, as a quota is used up, by whomever: no process sends for some seconds."""
        grant: Grant | None = slot.grant
        if grant is not None:
            self._post(Change("refused", grant, quota or grant.rules[0].name, seconds, refusal))

    def give_back(self, slot: Slot) -> None:
        """The call has ended, or does not need its slot any more."""
        grant: Grant | None = slot.grant
        if grant is None or grant.over:
            return
        grant.over = True
        slot.grant = None
        for limit in grant.local:
            limit.give_back(slot)
        if grant.local or grant.later is not None or grant.error is not None:
            return
        if slot.sent == math.inf or any(not rule.seconds for rule in grant.rules):
            self._post(Change("give back", grant))

    # By the agent's thread

    def answer(self, grant: Grant, answer: Granted | Later) -> None:
        """The limiter has answered."""
        grant.later = answer if isinstance(answer, Later) else None
        grant.ahead = answer.seconds > 0
        grant.at = self._clock() + answer.seconds
        grant.slot.notify()

    def lost(self, failure: LimiterError, grants: list[Grant], parts: int) -> None:
        """The limiter can't be reached.

        Args:
            failure: Why.
            grants: Those that get no answer.
            parts: How many processes shared the quotas last.
        """
        if self._failure is None:
            self._parts, self._local = max(1, parts), {}
        self._failure = failure
        for grant in grants:
            grant.error = failure
            grant.slot.notify()

    def found(self) -> None:
        """The limiter can be reached."""
        self._failure = None

    def _asked(self, slot: Slot, rules: tuple[Rule, ...], now: float) -> float | None:
        if self._failure is None:
            slot.grant = Grant(next(self._keys), slot, rules)
            self._post(Change("ask", slot.grant))
            return math.inf
        if self._on_failure == "error":
            raise self._failure
        local = self._local.get(rules) or self._local.setdefault(
            rules, tuple(rule.local(self._parts) for rule in rules)
        )
        slot.grant = grant = Grant(next(self._keys), slot, rules)
        free_at, name = max((limit.free_at(now), limit.name) for limit in local)
        if free_at > now:  # until a slot is free here, or the limiter may be there again
            seconds = min(free_at - now, LOCAL_PAUSE)
            grant.at, grant.later = now + seconds, Later(name, seconds, 0.0 if free_at == math.inf else free_at - now)
            return seconds
        grant.at, grant.local = now, local
        for limit in local:
            limit.use(slot)
        return None


def of_all(own: QuotaUse, rows: Iterable[Used]) -> QuotaUse:
    """What all processes use of shared quotas; where that is not known, what this one uses."""
    used: dict[str, Limit] = {}
    for row in rows:
        before = used[row.quota].used if row.quota in used else 0
        slots = before + row.slots
        waiting = getattr(own, row.quota).waiting
        used[row.quota] = Limit(row.limit, slots, max(0, int(row.limit) - slots), waiting)
    return own._replace(**used)
