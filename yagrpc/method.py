"""What an rpc is: the nominal types of the entries of generated method tables.

A table (`<file>_methods.py`, beside each `_pb2`) holds one object of these classes per rpc. It knows the rpc's
path, its message classes, its REST binding and, for a long-running one, what its operation resolves to.

Rules of this file: standard library only, and nothing is imported for a table to be loaded. A message class is
named as `"module:Class"` and imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any, Generic, TypeAlias, TypeVar, cast

__all__ = [
    "AnyMethod",
    "BidiStreamMethod",
    "ClientStreamMethod",
    "HttpRule",
    "OperationMethod",
    "StreamMethod",
    "UnaryMethod",
]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
MetadataT = TypeVar("MetadataT")


class HttpRule:
    """The REST binding of an rpc, from its `google.api.http` option.

    Args:
        verb: The HTTP verb, in capitals.
        path: The URL template below the service's host; `{field}` is a field of the request.
        body: `"*"` where the request is the body, a field's name where that field is, else empty.
        additional: Further bindings of the same rpc.
    """

    __slots__ = ("additional", "body", "path", "verb")

    def __init__(self, verb: str, path: str, body: str = "", *additional: HttpRule) -> None:
        self.verb = verb
        self.path = path
        self.body = body
        self.additional = additional

    def __repr__(self) -> str:
        further = "".join(f", {rule!r}" for rule in self.additional)
        return f"HttpRule({self.verb!r}, {self.path!r}, {self.body!r}{further})"


class _Method(Generic[RequestT, ResponseT]):
    """What all kinds of rpc share."""

    __slots__ = ("_request", "_response", "http", "name", "path", "service")

    def __init__(self, path: str, *, request: str, response: str, http: HttpRule | None = None) -> None:
        self.path = path
        """Full gRPC path: `/package.Service/Method`."""
        self.service, self.name = path[1:].split("/")
        self.http = http
        self._request: str | type[RequestT] = request
        self._response: str | type[ResponseT] = response

    @property
    def request_type(self) -> type[RequestT]:
        """The class of the request message, imported at first use."""
        if isinstance(self._request, str):
            self._request = cast("type[RequestT]", _load(self._request))
        return self._request

    @property
    def response_type(self) -> type[ResponseT]:
        """The class of the response message (of a long-running rpc: of its operation's result)."""
        if isinstance(self._response, str):
            self._response = cast("type[ResponseT]", _load(self._response))
        return self._response

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"


class UnaryMethod(_Method[RequestT, ResponseT]):
    """One request, one response."""

    __slots__ = ()


class StreamMethod(_Method[RequestT, ResponseT]):
    """One request, a stream of responses."""

    __slots__ = ()


class ClientStreamMethod(_Method[RequestT, ResponseT]):
    """A stream of requests, one response."""

    __slots__ = ()


class BidiStreamMethod(_Method[RequestT, ResponseT]):
    """A stream of requests, a stream of responses."""

    __slots__ = ()


class OperationMethod(_Method[RequestT, ResponseT], Generic[RequestT, ResponseT, MetadataT]):
    """One request, one `yandex.cloud.operation.Operation` that resolves to a `ResponseT` later.

    Both types come from the `(yandex.cloud.api.operation)` option of the rpc. `MetadataT` is `None` where the
    option declares no metadata.
    """

    __slots__ = ("_metadata", "_operation")

    def __init__(
        self,
        path: str,
        *,
        request: str,
        response: str,
        operation: str,
        metadata: str | None = None,
        http: HttpRule | None = None,
    ) -> None:
        super().__init__(path, request=request, response=response, http=http)
        self._operation: str | type[object] = operation
        self._metadata: str | type[MetadataT] | None = metadata

    @property
    def operation_type(self) -> type[object]:
        """The class of the `Operation` message that the rpc itself returns."""
        if isinstance(self._operation, str):
            self._operation = _load(self._operation)
        return self._operation

    @property
    def metadata_type(self) -> type[MetadataT] | None:
        """The class of the operation's metadata, or `None` where the rpc declares none."""
        if isinstance(self._metadata, str):
            self._metadata = cast("type[MetadataT]", _load(self._metadata))
        return self._metadata


AnyMethod: TypeAlias = (
    UnaryMethod[Any, Any]
    | StreamMethod[Any, Any]
    | ClientStreamMethod[Any, Any]
    | BidiStreamMethod[Any, Any]
    | OperationMethod[Any, Any, Any]
)
"""An rpc of any kind."""


def _load(reference: str) -> type[object]:
    """Import the class that `"module:Class"` names; nested classes are written with dots."""
    module, _, qualified = reference.partition(":")
    found: object = importlib.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    return cast("type[object]", found)
