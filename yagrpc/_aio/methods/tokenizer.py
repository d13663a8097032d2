"""The tokenizer: `tokenize` and `tokenize_completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc import methods
from yagrpc._aio.methods.base import Calls
from yagrpc._services.text import completion_request
from yagrpc._services.tokenizer import tokenize_request
from yagrpc.signatures import explicit_parameters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc._core.call.parameters import CompletionParameters, ModelParameters
    from yagrpc.messages import MessagesInput
    from yagrpc.results import Tokens


class TokenizerMethods(Calls):
    """The methods of `TokenizerService`."""

    @explicit_parameters
    async def tokenize(self, text: str, **parameters: Unpack[ModelParameters]) -> Tokens:
        """Split a text into a model's tokens; free of charge.

        Args:
            text: The text.
            **parameters: See `ModelParameters`.

        Raises:
            RequestError: An argument that the service would refuse; nothing was sent.
            CallError: The service refused, or could not be reached.
        """
        from yagrpc.results import Tokens

        request, calling = tokenize_request("tokenize", text, parameters, self._core)
        return await self._result(Tokens, methods.TokenizerService.Tokenize, request, calling)

    @explicit_parameters
    async def tokenize_completion(self, messages: MessagesInput, **parameters: Unpack[CompletionParameters]) -> Tokens:
        """Split a whole request into tokens, the chat template included: what its input is billed as. Free of charge.

        Args:
            messages: As in `completion`.
            **parameters: See `CompletionParameters`.

        Raises:
            RequestError: An argument that the service would refuse; nothing was sent.
            CallError: The service refused, or could not be reached.
        """
        from yagrpc.results import Tokens

        request, calling = completion_request("tokenize_completion", messages, parameters, self._core)
        return await self._result(Tokens, methods.TokenizerService.TokenizeCompletion, request, calling)
