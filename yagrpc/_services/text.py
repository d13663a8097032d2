"""Text generation: the request of a completion, and what its answers become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

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
    shaping.pop("strict", None)  # it says what to do with the answer
    return completion_request(messages, folder_id=defaults.folder_id, stream=stream, **shaping), calling


class Strictness(Protocol):
    """A client's setting for answers that the model did not finish."""

    @property
    def strict(self) -> bool:
        """Whether they are errors where a call does not say."""
        ...


def is_strict(parameters: CompletionParameters | None, client: Strictness | None) -> bool:
    """Whether an unfinished answer is an error, as a call or else its client says."""
    default = client is not None and client.strict
    return default if parameters is None else parameters.get("strict", default)


def completion_type(
    parameters: CompletionParameters | None = None, client: Strictness | None = None
) -> ResultType[Completion]:
    """What the operation of a text completion resolves to.

    Args:
        parameters: What the submit was given.
        client: Whether an unfinished answer is an error, where neither the submit nor a wait says.
    """
    from yagrpc._core.operation.result import ResultType
    from yagrpc.results import Completion, check_finished

    response = _pb.text_generation_service_pb2.CompletionResponse
    return ResultType(response, Completion, check=check_finished, strict=is_strict(parameters, client))


class CompletionReader:
    """Makes the completion of a message, and checks the last one of a stream.

    Args:
        parameters: What the call was given.
        client: Whether an unfinished answer is an error, where the call does not say.
    """

    __slots__ = ("_strict",)

    def __init__(self, parameters: CompletionParameters | None = None, client: Strictness | None = None) -> None:
        self._strict = is_strict(parameters, client)

    def __call__(self, response: _pb.text_generation_service_pb2.CompletionResponse) -> Completion:
        from yagrpc.results import Completion

        return Completion(response)

    def finish(self, last: Completion) -> None:
        """Check the answer, once it is whole.

        Raises:
            IncompleteCompletionError: The model did not finish it, and that is an error.
        """
        if self._strict:
            from yagrpc.results import check_finished

            check_finished(last)


class ChunkReader(CompletionReader):
    """Makes chunks of a streamed completion's messages; remembers the text, since each message repeats all of it."""

    __slots__ = ("_chunk", "_text")

    def __init__(self, parameters: CompletionParameters | None = None, client: Strictness | None = None) -> None:
        from yagrpc.results import Chunk

        super().__init__(parameters, client)
        self._chunk = Chunk
        self._text = ""

    def __call__(self, response: _pb.text_generation_service_pb2.CompletionResponse) -> Chunk:
        chunk = self._chunk(response, self._text)
        self._text = chunk.text
        return chunk
