"""Request messages: checked, and taken from any descriptor pool.

Rules: a request is exactly the method's class by the time it is sent. gRPC keeps to itself what goes wrong while it
reads a stream of requests, so the streams here remember it, for the call to raise.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from yagrpc.errors import RequestError
from yagrpc.foreign import is_id
from yagrpc.hiding import has_form_of_secret

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc import _pb
    from yagrpc._core.call.call import Call
    from yagrpc.method import AnyMethod

ASYNC_COMPLETION: Final = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
"""A method whose requests are checked for more than their class."""


def checked_request(method: AnyMethod, request: Message | Mapping[str, Any]) -> Message:
    """A request as the method's own class; a dict is its JSON.

    Raises:
        RequestError: It is another message, or one that the service is documented to refuse.
    """
    message: Message
    if isinstance(request, method.request_type):
        message = cast("Message", request)
    elif isinstance(request, Mapping):
        from yagrpc.messages import parsed  # only a request in JSON needs it

        message = parsed(method.request_type, request, "request")
    else:
        from yagrpc.messages import convert  # only a message of another pool needs it

        message = convert(method.request_type, request)
    if method.path == ASYNC_COMPLETION and cast("Any", message).completion_options.stream:
        remedy = "asynchronous mode has no stream: leave it out, or use completion_stream"
        raise RequestError("completion_options.stream", True, remedy)
    return message


def check_operation_id(operation_id: str) -> str:
    """An operation's id, checked for what can be sent.

    Raises:
        RequestError: It is empty, no printable text, too long for an id, or a credential, which errors and logs would
            show.
    """
    if not isinstance(operation_id, str) or not is_id(operation_id) or has_form_of_secret(operation_id):
        raise RequestError("operation_id", operation_id, "it takes the id that the submit gave, such as 'd7q...'")
    return operation_id


def checked_ids(operation_ids: Iterable[str]) -> list[str]:
    """The ids of operations, each once and checked.

    Raises:
        RequestError: They are no iterable, but perhaps the id of one, or one of them can't be sent.
    """
    if isinstance(operation_ids, str) or not isinstance(operation_ids, Iterable):
        raise RequestError("operation_ids", operation_ids, "it takes an iterable of ids: write [operation_id, ...]")
    return list(dict.fromkeys(map(check_operation_id, operation_ids)))


def check_completion(request: _pb.text_generation_service_pb2.CompletionRequest) -> None:
    """Check a completion request that was written by hand, as the arguments of `Client.completion` are checked.

    Raises:
        RequestError: The service is documented to refuse it.
    """
    from yagrpc.messages import checked_max_tokens, checked_message, checked_temperature

    if not request.model_uri:
        raise RequestError("model_uri", "", "it takes the whole URI of a model, such as 'gpt://<folder>/yandexgpt'")
    if not request.messages:
        raise RequestError("messages", [], "at least one message is needed")
    for index, message in enumerate(request.messages):
        checked_message(message, f"messages[{index}]")
    options = request.completion_options
    if options.HasField("temperature"):
        checked_temperature(options.temperature.value, "completion_options.temperature")
    if options.HasField("max_tokens"):
        checked_max_tokens(options.max_tokens.value, "completion_options.max_tokens")


class RequestStream:
    """The requests of a call that streams them, each checked when it is sent.

    Args:
        method: The method of the requests.
        requests: The messages.
    """

    def __init__(self, method: AnyMethod, requests: Iterable[Message | Mapping[str, Any]]) -> None:
        self.error: Exception | None = None
        self._method = method
        if isinstance(requests, Mapping) or not isinstance(requests, Iterable):
            raise RequestError("requests", requests, "the method streams its requests: it takes an iterable of them")
        self._requests = iter(requests)

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        try:
            return checked_request(self._method, next(self._requests))
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


class AsyncRequestStream:
    """The same for asyncio; the messages may come from an asynchronous iterable too.

    Args:
        method: The method of the requests.
        requests: The messages.
    """

    def __init__(self, method: AnyMethod, requests: Iterable[Message] | AsyncIterable[Message]) -> None:
        self.error: Exception | None = None
        self._method = method
        self._asynchronous = aiter(requests) if isinstance(requests, AsyncIterable) else None
        self._blocking = None if isinstance(requests, AsyncIterable) else RequestStream(method, requests)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        try:
            if self._asynchronous is not None:
                return checked_request(self._method, await anext(self._asynchronous))
            assert self._blocking is not None
            return next(self._blocking)
        except StopAsyncIteration:
            raise
        except StopIteration:
            raise StopAsyncIteration from None
        except Exception as error:
            self.error = error
            raise


def request_error(call: Call[Any, Any]) -> Exception | None:
    """What went wrong in the caller's own stream of requests, if anything did: gRPC only cancels the call."""
    return call.request.error if isinstance(call.request, (RequestStream, AsyncRequestStream)) else None
