"""The errors of a call that got no slot under a quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc.errors.base import YagrpcError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.errors.base import Context

__all__ = ["LimiterError", "QuotaWaitError"]


class LimiterError(YagrpcError):
    """The limiter that several processes share can't be reached, and calls are to fail then; nothing was sent.

    Only with `on_limiter_failure="error"`.

    Args:
        message: Which limiter, and why.
        **context: As for any `YagrpcError`.
    """


class QuotaWaitError(YagrpcError, TimeoutError):
    """A call got no slot under a quota within its timeout.

    Nothing was sent, or every attempt before failed, mostly by a refusal of the service's quota (then the last failure
    is `__cause__`). A refusal of the service also holds other calls of the client back; the text says so.

    Args:
        quota: The quota, as `Quota` names it.
        seconds: Until the next slot at the earliest; `None` where that depends on when a running call ends.
        timeout: The call's timeout, in seconds.
        refusal: What the service said when it refused this call, or one before it; empty where it refused none.
        **context: As for any `YagrpcError`.
    """

    def __init__(
        self,
        quota: str,
        seconds: float | None,
        *,
        timeout: float,
        refusal: str = "",
        **context: Unpack[Context],
    ) -> None:
        self.quota = quota
        self.seconds = seconds
        self.timeout = timeout
        self.refusal = refusal
        when = "when a running call ends" if seconds is None else f"in {seconds:.3g} s"
        following = "the next attempt is" if refusal else "there is one"  # the service may refuse that one, too
        super().__init__(f"no slot under quota.{quota} in {timeout:g} s, {following} {when}", **context)

    def _summary(self) -> str:
        if not self.attempts:
            held = f": the service refused calls before it: {self.refusal}" if self.refusal else ""
            return f"{self.message}; nothing was sent{held}"
        refused = f": it was sent, and refused: {self.refusal}" if self.refusal else ""
        return f"{self.message}; every attempt before failed{refused}"
