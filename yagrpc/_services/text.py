"""Text generation: the request of a completion, and what its answers become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    shaping.pop("strict", None)  # what is done with the answer: see `strictness`
    return completion_request(messages, folder_id=defaults.folder_id, stream=stream, **shaping), calling


def strictness(parameters: CompletionParameters, default: bool) -> Callable[[Completion], None] | None:
    """What checks an answer once it is whole; `None` where the caller takes any.

    Args:
        parameters: As they were given, and checked.
        default: The client's setting.
    """
    from yagrpc.results import check_finished

    return check_finished if parameters.get("strict", default) else None


def completion_type(strict: bool = False) -> ResultType[Completion]:
    """What the operation of a text completion resolves to.

    Args:
        strict: Whether an unfinished answer is an error, where a wait for it does not say.
    """
    from yagrpc._core.operation.result import ResultType
    from yagrpc.results import Completion, check_finished

    response = _pb.text_generation_service_pb2.CompletionResponse
    return ResultType(response, Completion, check=check_finished, strict=strict)


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
