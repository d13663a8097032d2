"""The keyword arguments that calls take, each described in one place for both clients.

Rules: the text below an argument is its documentation everywhere: in `help()` and Jupyter (`signatures`) and in an
editor. An argument that no call takes is a `TypeError` that names the method which the user called.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from yagrpc.errors import RequestError
from yagrpc.hiding import hidden, hidden_metadata
from yagrpc.quantities import seconds

if TYPE_CHECKING:
    from google.protobuf.message import Message as ProtoMessage

    from yagrpc.messages import ReasoningMode
    from yagrpc.quantities import Number, RequestId, Seconds, WholeNumber


class CallParameters(TypedDict, total=False):
    """What every call takes."""

    timeout: Seconds | None
    """Seconds, or a `timedelta`, over everything: the wait for the quota, connecting, all attempts; `None` for no
    limit. Default 60 (a completion: 180) from the moment at which the quota lets the call go."""
    metadata: Iterable[tuple[str, str | bytes]] | Mapping[str, str | bytes]
    """Further metadata; keys in lower case. A key that yagrpc would set is left as given."""
    request_id: RequestId
    """Sent as `x-client-request-id`, and part of every error; a new UUID by default."""
    resubmit: bool
    """Whether a generation is sent again even after a failure that does not prove that nothing started: it
    may be paid for twice. By default such a failure is an `AmbiguousSubmitError`. Other calls ignore it."""
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
    temperature: Number | None
    """From 0 to 1; the service's default is 0.3."""
    max_tokens: WholeNumber | None
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
    strict: bool
    """Whether an answer that the model did not finish raises an `IncompleteCompletionError`: one that the content
    filter stopped, or that was cut off at its limit of tokens. By default the client's setting, `False`.
    `tokenize_completion` ignores it."""


_CALL_NAMES: Final = frozenset(CallParameters.__annotations__)


@functools.cache
def _names(kind: Any) -> frozenset[str]:
    """The names of the arguments that a class declares."""
    return frozenset(kind.__annotations__)


def check_parameters(method: str, given: Mapping[str, Any], kind: object = CallParameters) -> None:
    """Check the keyword arguments of a call: their names, and the values that are flags.

    What may be a secret among them is hidden in place, since the frames of the caller hold the same dict: the values
    of the metadata, and the arguments that no method takes.

    Args:
        method: The Python method that the user called, for the error.
        given: The arguments.
        kind: The class, of those above, that has the arguments which the method takes.

    Raises:
        TypeError: The method does not take one of them.
        RequestError: A flag is neither `True` nor `False`.
    """
    names = _names(kind)
    hide_metadata(given)
    if not given.keys() <= names:
        for name in given.keys() - names:
            cast("dict[str, Any]", given)[name] = hidden(given[name])
        import difflib  # only a mistake needs it

        unknown = next(name for name in given if name not in names)
        near = difflib.get_close_matches(unknown, names, n=1)
        suggestion = f": did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"{method}() got an unexpected keyword argument {unknown!r}{suggestion}")
    for flag in ("resubmit", "data_logging", "strict"):
        value = given.get(flag)
        if value is not None and not isinstance(value, bool):
            raise RequestError(flag, value, "it takes True or False")


def hide_metadata(given: Mapping[str, Any]) -> None:
    """Hide the values of a call's metadata, in place: a credential may be among them, and frames show the arguments.

    Args:
        given: The method's own `**parameters`, which is a dict.
    """
    if "metadata" in given:
        cast("dict[str, Any]", given)["metadata"] = hidden_metadata(given["metadata"])


def split_parameters(method: str, given: Mapping[str, Any], kind: object) -> tuple[dict[str, Any], CallParameters]:
    """The keyword arguments that shape a request, and those of its call, checked as `check_parameters` does.

    Args:
        method: The Python method that the user called, for the error.
        given: The arguments.
        kind: The class, of those above, that has the arguments which the method takes.

    Raises:
        TypeError: The method does not take one of them.
        RequestError: A flag is neither `True` nor `False`.
    """
    shaping: dict[str, Any] = {}
    calling: dict[str, Any] = {}
    if given:
        check_parameters(method, given, kind)
        for name, value in given.items():
            (calling if name in _CALL_NAMES else shaping)[name] = value
    return shaping, cast("CallParameters", calling)


LONGEST_TIMEOUT: Final = 10 * 365 * 24 * 3600.0
"""Seconds; what is longer overflows the clocks of gRPC and of threads, and this is taken instead."""


def checked_timeout(timeout: Seconds | None) -> float | None:
    """A timeout in seconds, checked.

    Raises:
        RequestError: It is neither a span of time nor `None`.
    """
    if timeout is None:
        return None
    found = seconds(timeout)
    if found is None or found < 0:
        raise RequestError("timeout", timeout, "it takes seconds, 0 or more, a timedelta, or None for no limit")
    return min(found, LONGEST_TIMEOUT)
