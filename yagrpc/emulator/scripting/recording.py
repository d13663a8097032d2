"""Recorded answers of a service, by request.

A file is a JSON list, in call order, of `{"method", "request", "responses"}`: the full gRPC path, the request and all
messages of the answer as proto JSON. Equal requests get the answers of their recordings in order, and then the last one
again and again: so an operation that was polled until it was done can be polled again.

Rules: nothing is sent from here; `rpc.playback` does that.
"""

from __future__ import annotations

import json
import os
from typing import Final, NamedTuple, TypeAlias

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.scripting.reading import read_text

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
        calls: The content of the JSON.
        source: The name of the recording in errors.

    Raises:
        ValueError: The content has another shape, or names an unknown method or field; the text names the entry.
    """

    def __init__(self, calls: object, source: str = "recording") -> None:
        if not isinstance(calls, list):
            raise ValueError(f"{source}: a recording is a JSON list of objects with {', '.join(_KEYS)}")
        self.methods: dict[str, Method] = {}
        """The recorded methods, by their gRPC path."""
        self.answers: dict[Key, list[list[Message]]] = {}
        """The answers to equal requests, in their order, by `key_of` the request."""
        _pb.load_messages()  # an Any may contain a message of any service
        for number, call in enumerate(calls, start=1):
            self._add(call, f"{source}: entry {number}")

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Recording:
        """Read a file.

        Raises:
            ValueError: The file cannot be read, is not JSON, or is no recording.
        """
        try:
            calls = json.loads(read_text(file))
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
    """Find a method by its gRPC path.

    Raises:
        KeyError: The method is unknown.
        ValueError: The text is no path.
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
    """The key that equal requests to a method share."""
    return path, request.SerializeToString(deterministic=True)


def _parse(message_type: type[Message], value: object, where: str) -> Message:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: it is an object, as proto JSON")
    try:
        return json_format.ParseDict(value, message_type(), descriptor_pool=_pb.POOL)
    except json_format.ParseError as error:
        reason = " ".join(str(error).split())  # one line instead of several
        raise ValueError(f"{where}: {reason}") from error
