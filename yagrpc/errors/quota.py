"""The error of a call that waited too long for a slot under a quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc.errors.base import YagrpcError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = ["QuotaWaitError"]


class QuotaWaitError(YagrpcError, TimeoutError):
    """A call got no slot under a quota within its timeout.

    Nothing was sent, or every attempt before failed, mostly by a refusal of the service's quota (then the last failure
    is `__cause__`).

    Args:
        quota: The quota, as `Quota` names it.
        seconds: Until the next slot at the earliest; `None` where that depends on when a running call ends.
        timeout: The call's timeout, in seconds.
        **context: As for any `YagrpcError`.
    """

    def __init__(self, quota: str, seconds: float | None, *, timeout: float, **context: Unpack[Context]) -> None:
        self.quota = quota
        self.seconds = seconds
        self.timeout = timeout
        when = "when a running call ends" if seconds is None else f"in {seconds:.3g} s"
        super().__init__(f"no slot under quota.{quota} in {timeout:g} s, there is one {when}", **context)

    def _summary(self) -> str:
        return f"{self.message}; {'every attempt before failed' if self.attempts else 'nothing was sent'}"
