"""Text generation: the request of a completion, and what its answers become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yagrpc import _pb
from yagrpc._core.call.parameters import CallParameters, CompletionParameters, hide_metadata, split_parameters
from yagrpc.errors import RequestError

if TYPE_CHECKING:
    from yagrpc._core.operation.result import ResultType
    from yagrpc._services.defaults import Defaults
    from yagrpc.messages import MessagesInput
    from yagrpc.results import Chunk, Completion


def completion_request(
    method: str,
    messages: MessagesInput,
    parameters: CompletionParameters,
    defaults: Defaults,
    *,
    stream: bool = False,
) -> tuple[_pb.text_generation_service_pb2.CompletionRequest, CallParameters]:
    """The request of a completion, and the parameters of its call.

    Args:
        method: The Python method that the user called.
        messages: As it was given.
        parameters: As they were given.
        defaults: The client's folder and model.
        stream: Whether the answer comes in parts.

    Raises:
        TypeError: The method does not take one of the parameters.
        RequestError: The service would refuse an argument.
        ConfigError: The model is a short name and no folder is known.
    """
    from yagrpc.messages import completion_request

    given: Mapping[str, object] = parameters
    hide_metadata(given)
    if "stream" in given:
        raise RequestError("stream", given["stream"], "leave it out: only completion_stream() streams")
    shaping, calling = split_parameters(method, parameters, CompletionParameters)
    shaping.setdefault("model", defaults.model)
    return completion_request(messages, folder_id=defaults.folder_id, stream=stream, **shaping), calling


def completion_type() -> ResultType[Completion]:
    """What the operation of a text completion resolves to."""
    from yagrpc._core.operation.result import ResultType
    from yagrpc.results import Completion

    return ResultType(_pb.text_generation_service_pb2.CompletionResponse, Completion)


class ChunkReader:
    """Makes chunks of a streamed completion's messages; remembers the text, since each message repeats all of it."""

    __slots__ = ("_chunk", "_text")

    def __init__(self) -> None:
        from yagrpc.results import Chunk

        self._chunk = Chunk
        self._text = ""

    def __call__(self, response: _pb.text_generation_service_pb2.CompletionResponse) -> Chunk:
        chunk = self._chunk(response, self._text)
        self._text = chunk.text
        return chunk
