"""Recorded answers in place of the servicers.

Rules: a recorded answer is sent unchanged and unchecked. A request without a recorded answer is refused, so that no
answer is invented. Endpoint discovery and IAM tokens are the emulator's own, unless they are recorded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.refusal import Refusal, make_status
from yagrpc.emulator.rpc.pipeline import Pipeline
from yagrpc.emulator.scripting.recording import Key, Recording, find_method, key_of

__all__ = ["Playback"]

_SHOWN: Final = 500
"""Characters of a request that a refusal shows."""


class Playback:
    """Answers from a recording in place of the servicers.

    Args:
        recording: The recording.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._played: Counter[Key] = Counter()

    def take_over(self, pipeline: Pipeline) -> None:
        """Replace the pipeline's handlers with handlers that play or refuse; add the methods that it lacks."""
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
            # A code that no client retries, and that no client takes for a fault of the request.
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
