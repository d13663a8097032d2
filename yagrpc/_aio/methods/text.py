"""Text generation: `completion`, `completion_stream` and `completion_async`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc import methods
from yagrpc._aio.methods.base import Calls
from yagrpc._services import text as service
from yagrpc.signatures import explicit_parameters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc._aio.operation import AsyncOperation
    from yagrpc._aio.stream import AsyncStream
    from yagrpc._core.call.parameters import CompletionParameters
    from yagrpc.messages import MessagesInput
    from yagrpc.results import Chunk, Completion


class TextMethods(Calls):
    """The methods of `TextGenerationService` and `TextGenerationAsyncService`."""

    @explicit_parameters
    async def completion(self, messages: MessagesInput, **parameters: Unpack[CompletionParameters]) -> Completion:
        """Generate an answer and wait for it (synchronous mode: twice the price of asynchronous).

        Args:
            messages: A text, a dict with `role` and `text`, a `Message`, a proto message, or a sequence of these: the
                messages of one dialogue. Several texts without roles are refused: each is a call of its own.
            **parameters: See `CompletionParameters`.

        Raises:
            RequestError: An argument that the service would refuse; nothing was sent.
            CallError: The service refused, or could not be reached.
            AmbiguousSubmitError: It failed after it may have reached the service, which may have generated.
            MessageTooLargeError: The answer is over the client's limit.
            ResultError: The answer holds no alternative.
            IncompleteCompletionError: It is `strict`, and the content filter stopped the answer, or it was cut off.
        """
        request, calling = service.completion_request("completion", messages, parameters, self._core)
        reader = service.CompletionReader(parameters, self._core)
        async with self._stream(methods.TextGenerationService.Completion, request, calling, reader) as stream:
            async for _ in stream:
                pass
        return stream.only()

    @explicit_parameters
    def completion_stream(
        self, messages: MessagesInput, **parameters: Unpack[CompletionParameters]
    ) -> AsyncStream[Chunk]:
        """Generate an answer and give it as it grows.

        Args:
            messages: As in `completion`.
            **parameters: See `CompletionParameters`.

        Returns:
            An iterator of chunks; close it, or use it in an `async with` block, to end the call early.

        Raises:
            RequestError: An argument that the service would refuse; nothing was sent.
        """
        request, calling = service.completion_request(
            "completion_stream", messages, parameters, self._core, stream=True
        )
        reader = service.ChunkReader(parameters, self._core)
        return self._stream(methods.TextGenerationService.Completion, request, calling, reader)

    @explicit_parameters
    async def completion_async(
        self, messages: MessagesInput, **parameters: Unpack[CompletionParameters]
    ) -> AsyncOperation[Completion]:
        """Submit a completion (asynchronous mode: half the price); its result is kept for three days.

        The timeout is for the submit alone.

        Args:
            messages: As in `completion`.
            **parameters: See `CompletionParameters`.

        Raises:
            RequestError: An argument that the service would refuse; nothing was sent.
            CallError: The service refused; nothing was started.
            AmbiguousSubmitError: It failed after it may have reached the service, which may have started it.
        """
        request, calling = service.completion_request("completion_async", messages, parameters, self._core)
        method = methods.TextGenerationAsyncService.Completion
        return await self._submit(method, request, calling, service.completion_type(parameters, self._core))
