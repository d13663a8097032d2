"""Recorded answers: what a service once said, matched by request, and nothing else.

A file is a JSON list, in call order, of `{"method", "request", "responses"}`: the full gRPC path, the request and all
messages of the answer as proto JSON. Requests that are equal have the answers of their recordings in order, the last
one from then on: so an operation that was looked at until it was done is so again.

Rules: a recorded answer is sent as it is, unchecked; a request without one is refused, so that nothing is made up.
Endpoint discovery and IAM tokens are the emulator's own, unless they are recorded.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths

__all__ = ["Key", "Method", "Recording", "find_method", "key_of"]

_KEYS: Final = ("method", "request", "responses")

Key: TypeAlias = tuple[str, bytes]


class Method(NamedTuple):
    """A method of the service, with the classes of its messages."""

    descriptor: MethodDescriptor
    request_type: type[Message]
    response_type: type[Message]


class Recording:
    """Recorded answers. See `load`.

    Args:
        calls: What the JSON says.
        source: Where it is from, for messages.

    Raises:
        ValueError: It is not of the shape, or names a method or a field that there is not; the entry is named.
    """

    def __init__(self, calls: object, source: str = "recording") -> None:
        if not isinstance(calls, list):
            raise ValueError(f"{source}: a recording is a JSON list of objects with {', '.join(_KEYS)}")
        self.methods: dict[str, Method] = {}
        """The methods that it has, by their gRPC path."""
        self.answers: dict[Key, list[list[Message]]] = {}
        """The answers to equal requests, in their order, by `key_of` the request."""
        _pb.load_messages()  # an Any may hold a message of whatever service
        for number, call in enumerate(calls, start=1):
            self._add(call, f"{source}: entry {number}")

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Recording:
        """Read a file.

        Raises:
            ValueError: It cannot be read, is not JSON, or is no recording.
        """
        try:
            calls = json.loads(Path(file).read_text("utf-8"))
        except OSError as error:
            raise ValueError(f"{file}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}: not JSON: {error}") from error
        return cls(calls, str(file))

    def _add(self, call: object, where: str) -> None:
        if not isinstance(call, dict) or set(call) != set(_KEYS):
            found = f", not {', '.join(map(repr, call)) or 'nothing'}" if isinstance(call, dict) else ""
            raise ValueError(f"{where}: it takes an object with {', '.join(_KEYS)}{found}")
        path, responses = call["method"], call["responses"]
        method = self._method(path, where)
        request = _parse(method.request_type, call["request"], f"{where}: request")
        if not isinstance(responses, list) or not (method.descriptor.server_streaming or len(responses) == 1):
            many = "a list of messages" if method.descriptor.server_streaming else "a list of one message"
            raise ValueError(f"{where}: responses: {path} answers with {many}")
        answer = [
            _parse(method.response_type, response, f"{where}: responses[{index}]")
            for index, response in enumerate(responses)
        ]
        self.answers.setdefault(key_of(path, request), []).append(answer)

    def _method(self, path: object, where: str) -> Method:
        if isinstance(path, str) and path in self.methods:
            return self.methods[path]
        try:
            self.methods[str(path)] = found = find_method(str(path))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{where}: method: there is no {path!r}; it is a gRPC path, /package.Service/Method"
            ) from error
        return found


def find_method(path: str) -> Method:
    """A method by its gRPC path.

    Raises:
        KeyError: There is none.
        ValueError: It is no path.
    """
    _, service, name = path.split("/")
    if not path.startswith(paths.CLOUD):
        raise KeyError(path)
    descriptor = _pb.POOL.FindServiceByName(service).methods_by_name[name]
    return Method(
        descriptor,
        message_factory.GetMessageClass(descriptor.input_type),
        message_factory.GetMessageClass(descriptor.output_type),
    )


def key_of(path: str, request: Message) -> Key:
    """What equal requests to one method have in common."""
    return path, request.SerializeToString(deterministic=True)


def _parse(message_type: type[Message], value: object, where: str) -> Message:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: it is an object, as proto JSON")
    try:
        return json_format.ParseDict(value, message_type(), descriptor_pool=_pb.POOL)
    except json_format.ParseError as error:
        reason = " ".join(str(error).split())  # one line of what is written in several
        raise ValueError(f"{where}: {reason}") from error
