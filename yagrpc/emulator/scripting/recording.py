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
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.refusal import Refusal, make_status

if TYPE_CHECKING:
    from yagrpc.emulator.rpc.pipeline import Pipeline

__all__ = ["Playback", "Recording"]

_KEYS: Final = ("method", "request", "responses")
_SHOWN: Final = 500
"""Characters of a request that a refusal shows."""

_Key: TypeAlias = tuple[str, bytes]


class _Method(NamedTuple):
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
        self.methods: dict[str, _Method] = {}
        """The methods that it has, by their gRPC path."""
        self.answers: dict[_Key, list[list[Message]]] = {}
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

    def _method(self, path: object, where: str) -> _Method:
        if isinstance(path, str) and path in self.methods:
            return self.methods[path]
        try:
            self.methods[str(path)] = found = find_method(str(path))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{where}: method: there is no {path!r}; it is a gRPC path, /package.Service/Method"
            ) from error
        return found


def find_method(path: str) -> _Method:
    """A method by its gRPC path.

    Raises:
        KeyError: There is none.
        ValueError: It is no path.
    """
    _, service, name = path.split("/")
    if not path.startswith(paths.CLOUD):
        raise KeyError(path)
    descriptor = _pb.POOL.FindServiceByName(service).methods_by_name[name]
    return _Method(
        descriptor,
        message_factory.GetMessageClass(descriptor.input_type),
        message_factory.GetMessageClass(descriptor.output_type),
    )


def key_of(path: str, request: Message) -> _Key:
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


class Playback:
    """Answers from a recording in place of the servicers.

    Args:
        recording: What is played.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._played: Counter[_Key] = Counter()

    def take_over(self, pipeline: Pipeline) -> None:
        """Put handlers that play, or refuse, in place of those that the pipeline has; add what it lacks."""
        served = {path: find_method(path) for path in pipeline.paths - paths.OPEN_TO_ALL}
        for path, method in {**served, **self._recording.methods}.items():
            _, service, name = path.split("/")
            deserialize: Any = method.request_type.FromString
            serialize: Any = method.response_type.SerializeToString
            handler: Any = (
                grpc.unary_stream_rpc_method_handler(self._stream(path), deserialize, serialize)
                if method.descriptor.server_streaming
                else grpc.unary_unary_rpc_method_handler(self._unary(path), deserialize, serialize)
            )
            pipeline.register(service, {name: handler})

    def _unary(self, path: str) -> Any:
        async def call(request: Message, context: object) -> Message:
            return self._answer(path, request)[0]

        return call

    def _stream(self, path: str) -> Any:
        async def call(request: Message, context: object) -> AsyncIterator[Message]:
            for message in self._answer(path, request):
                yield message

        return call

    def _answer(self, path: str, request: Message) -> list[Message]:
        key = key_of(path, request)
        answers = self._recording.answers.get(key)
        if answers is None:
            # A code that no client retries, and none takes for an answer about the request.
            raise Refusal(make_status(grpc.StatusCode.FAILED_PRECONDITION, self._unmatched(path, request)))
        number = min(self._played[key], len(answers) - 1)
        self._played[key] += 1
        return answers[number]

    def _unmatched(self, path: str, request: Message) -> str:
        count = sum(1 for recorded, _ in self._recording.answers if recorded == path)
        shown = json.dumps(json_format.MessageToDict(request, descriptor_pool=_pb.POOL), ensure_ascii=False)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}..."
        return f"the recording has {count} other requests to {path}, and no answer to this one: {shown}"
