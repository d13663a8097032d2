"""The keyword arguments that calls take, each described in one place for both clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict

from yagrpc.errors import RequestError

if TYPE_CHECKING:
    from google.protobuf.message import Message as ProtoMessage

    from yagrpc.messages import ReasoningMode


class CallParameters(TypedDict, total=False):
    """What every call takes."""

    timeout: float | None
    """Seconds over everything: connecting and all attempts; `None` for no limit.
    Default 60 (a completion: 180)."""
    metadata: Iterable[tuple[str, str | bytes]] | Mapping[str, str | bytes]
    """Further metadata; keys in lower case. A key that yagrpc would set is left as given."""
    request_id: str
    """Sent as `x-client-request-id`, and part of every error; a new UUID by default."""
    resubmit: bool
    """Whether a generation is sent again even after a failure that does not prove that nothing started: it may be
    paid for twice. By default such a failure is an `AmbiguousSubmitError`. Other calls take no notice of it."""
    data_logging: bool
    """`False` asks the service not to store the request and its answer, which it does by default."""


class ModelParameters(CallParameters, total=False):
    """What every call of a model takes."""

    model: str
    """`yandexgpt`, `yandexgpt/rc` (name and branch), or a whole URI such as `gpt://FOLDER/yandexgpt/latest`.
    Default: the client's."""


class CompletionParameters(ModelParameters, total=False):
    """What every completion takes. What is not given is not sent, and the service's default holds."""

    system: str | None
    """A system message, put before the others."""
    temperature: float | None
    """From 0 to 1; the service's default is 0.3."""
    max_tokens: int | None
    """The longest answer, in tokens; above 0."""
    reasoning_mode: ReasoningMode | None
    """`DISABLED`, or `ENABLED_HIDDEN` to let the model reason first, at the price of more tokens."""
    tools: Iterable[Mapping[str, Any] | ProtoMessage] | None
    """Functions that the model may ask for: dicts of `name`, `description`, `parameters` (a JSON schema)
    and `strict`."""
    tool_choice: str | None
    """`NONE`, `AUTO`, `REQUIRED`, or the name of the function to ask for."""
    parallel_tool_calls: bool | None
    """Whether one answer may ask for several functions."""
    json_object: bool | None
    """Whether the answer is to be a JSON object; ask for JSON in the text as well."""
    json_schema: Mapping[str, Any] | None
    """The JSON schema that the answer is to follow."""


CALL_PARAMETERS: Final = frozenset(CallParameters.__annotations__)
"""The names of what every call takes."""

LONGEST_TIMEOUT: Final = 10 * 365 * 24 * 3600.0
"""Seconds; what is longer overflows the clocks of gRPC and of threads, and this is taken instead."""


def checked_timeout(timeout: float | None) -> float | None:
    """A timeout, checked.

    Raises:
        RequestError: It is neither seconds nor `None`.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise RequestError("timeout", timeout, "it takes seconds, 0 or more, or None for no limit")
    return min(timeout, LONGEST_TIMEOUT)
