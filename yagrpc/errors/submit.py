"""The errors of a generation that may have started although its call failed."""

from __future__ import annotations

from typing import ClassVar

from yagrpc.errors.base import YagrpcError, code_name
from yagrpc.errors.code import Code

__all__ = ["AmbiguousSubmitError", "SubmitTimeoutError"]


class AmbiguousSubmitError(YagrpcError):
    """A generation that failed after its request may have reached the service.

    The service may have started a generation that is billed, and whose answer or operation id is lost. It ignores
    idempotency keys, so a second submit may be billed a second time; the caller decides whether to send one
    (`resubmit=True`). The call's own error is `__cause__`. Support can find the request by the ids of this error.

    Args:
        message: The message of the status that the call ended with.
        **context: As for any `YagrpcError`; `code` is the status that the call ended with, and the number of attempts
            is 1 where it is left out.
    """

    code: Code = Code.UNKNOWN  # pyright: ignore[reportIncompatibleVariableOverride]
    attempts: int = 1

    _summarized: ClassVar[tuple[str, ...]] = ("code",)

    def _summary(self) -> str:
        status = f"{code_name(self.code)}: {self.message}"
        return f"the submit may or may not have been accepted ({status}); sending it again may be billed twice"


class SubmitTimeoutError(AmbiguousSubmitError, TimeoutError):
    """A generation that did not answer within the call's timeout, and may be running."""
