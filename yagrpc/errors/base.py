"""What all errors share: one context, one way to show it, one way to copy it.

Rules: attributes are plain data, so every error can be pickled and copied whole. A name of `Context` is an attribute
of every error; its default is a class attribute here, so an error stores only what it was given. Only `__str__` here
shows the context; a subclass gives its summary. No text is kept longer than its limit, whatever the other side sent;
an operation id is kept whole, since it is lost otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict, TypeVar

from yagrpc.errors.code import Code
from yagrpc.errors.wording import in_brackets

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["CallContext", "Context", "Detail", "YagrpcError"]

ErrorT = TypeVar("ErrorT", bound="YagrpcError")

Detail = Mapping[str, Any]
"""One entry of a status's details, as proto JSON with `@type`."""


LONGEST_TEXT: Final = 8000
"""Characters of the longest message of an error: a status may bring 16 MiB."""

LONGEST_VALUE: Final = 500
"""Characters of the longest text of the context, such as a request id."""


class CallContext(TypedDict, total=False):
    """What an error may know about its call; what is empty or `None` is not known.

    Args:
        code: The status; a number that no code has is a plain `int`.
        method: Full gRPC path.
        endpoint: The address that the call was sent to, `host:port`.
        client_request_id: The id that the client sent as `x-client-request-id`.
        request_id: The service's id of the request: support asks for it.
        server_trace_id: The id of the service's trace (`x-server-trace-id`): support asks for it as well.
        attempts: How often the request was sent; 0 where nothing was sent, or the number is not known.
        hint: The likely cause, and what to do.
    """

    code: Code | int | None
    method: str
    endpoint: str
    client_request_id: str
    request_id: str
    server_trace_id: str
    attempts: int
    hint: str


class Context(CallContext, total=False):
    """What an error may know about its call, and about its operation.

    Args:
        operation_id: The operation that the call or the wait was about.
    """

    operation_id: str


LABELS: Final[Mapping[str, str]] = {
    "code": "code",
    "operation_id": "operation",
    "method": "method",
    "endpoint": "endpoint",
    "request_id": "request id",
    "server_trace_id": "server trace id",
    "client_request_id": "client request id",
    "attempts": "attempts",
}
"""What an error shows in brackets, in this order; the hint stands before them."""


class YagrpcError(Exception):
    """Base of everything that yagrpc raises. Every error has all of these attributes.

    Args:
        message: What happened, without the context.
        **context: Any of `Context`: `code`, `method`, `endpoint`, `client_request_id`, `request_id`,
            `server_trace_id`, `attempts`, `operation_id`, `hint`.
    """

    message: str = ""
    code: Code | int | None = None
    method: str = ""
    endpoint: str = ""
    client_request_id: str = ""
    request_id: str = ""
    server_trace_id: str = ""
    attempts: int = 0
    operation_id: str = ""
    hint: str = ""

    _summarized: ClassVar[tuple[str, ...]] = ()
    """The names that the summary shows, or that the class says: they are not repeated in brackets."""

    def __init__(self, message: str = "", **context: Unpack[Context]) -> None:
        super().__init__(_cut(message, LONGEST_TEXT))
        self.message = _cut(message, LONGEST_TEXT)
        self._set(context)

    @property
    def context(self) -> Context:
        """What the error knows, as keyword arguments for another error."""
        known: Context = {}
        for name in Context.__optional_keys__:
            value = getattr(self, name)
            if value not in ("", None) and (name in vars(self) or value != getattr(YagrpcError, name)):
                known[name] = value  # type: ignore[literal-required]
        return known

    def with_context(self, **context: Unpack[Context]) -> Self:
        """Fill in what the error does not know yet; what it knows stays.

        A number of attempts is known once it was given, even as 0; the code also where the class fixes it.

        Returns:
            The error itself.
        """
        known = self.context if "attempts" in vars(self) else {**self.context, "attempts": None}
        self._set({name: value for name, value in context.items() if known.get(name) is None})
        return self

    def _set(self, context: Mapping[str, Any]) -> None:
        for name, value in context.items():
            if name not in Context.__optional_keys__:
                raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {name!r}")
            if value is not None and value != "":
                setattr(self, name, Code.of(value) if name == "code" else _limited(name, value))

    def _summary(self) -> str:
        """What happened, in a subclass's own words; `__str__` adds the hint and the context."""
        return self.message

    def __str__(self) -> str:
        known = [
            (label, code_name(value) if name == "code" else value)
            for name, label in LABELS.items()
            if name not in self._summarized
            and (value := getattr(self, name)) not in ("", None)
            and (name != "attempts" or value not in (1, type(self).attempts))
        ]
        return in_brackets(self._summary() + (self.hint and f"; {self.hint}"), known)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def own_copy(error: ErrorT) -> ErrorT:
    """A copy of an error to raise: several callers may wait for the same, and each raise writes into the exception."""
    rebuild, arguments = error.__reduce__()
    mine: ErrorT = rebuild(*arguments)
    mine.__cause__ = error.__cause__
    return mine


def code_name(code: Code | int | None) -> str:
    """A status as errors show it."""
    return code.name if isinstance(code, Code) else f"status {code}"


def _cut(text: str, longest: int) -> str:
    """A text up to a number of characters, with its length where it was longer."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters in all)"


def _limited(name: str, value: Any) -> Any:
    """A value of the context, up to its limit."""
    if not isinstance(value, str) or name == "operation_id":
        return value
    return _cut(value, LONGEST_TEXT if name == "hint" else LONGEST_VALUE)


def _rebuild(cls: type[ErrorT], args: tuple[Any, ...], state: dict[str, Any]) -> ErrorT:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
