"""The contract, held to the service itself: where `YC_API_KEY` and `YC_FOLDER_ID` are set, at most 20 requests.

Rules: the shortest prompts that do, one answer of few tokens each; what was used is printed at the end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

import yagrpc

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (os.environ.get("YC_API_KEY") and os.environ.get("YC_FOLDER_ID")),
        reason="YC_API_KEY and YC_FOLDER_ID are not set: nothing was sent to the service",
    ),
]

MODEL = "yandexgpt-lite"
SYNC_UNITS, ASYNC_UNITS = 1.0, 0.5  # billing units per token of Lite, from the public price formulas


class Spent:
    """Counts requests and billing units."""

    def __init__(self) -> None:
        self.requests = 0
        self.units = 0.0

    def add(self, completion: yagrpc.Completion, units: float) -> None:
        self.units += completion.usage.total_tokens * units


class Limited:
    """A gRPC interceptor that lets 20 requests through."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent

    def count(self) -> None:
        self._spent.requests += 1
        if self._spent.requests > 20:
            pytest.fail("over 20 requests")


@pytest.fixture(scope="module")
def spent() -> Iterator[Spent]:
    found = Spent()
    yield found
    print(f"\nlive: {found.requests} requests, {found.units:.0f} billing units (1 = one token of Lite, synchronous)")


@pytest.fixture
def client(spent: Spent) -> Iterator[yagrpc.Client]:
    import grpc

    class Counting(Limited, grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            self.count()
            return continuation(details, request)

        def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            self.count()
            return continuation(details, request)

    polling = yagrpc.Polling(first=2.0, shortest=2.0)
    with yagrpc.Client(model=MODEL, interceptors=[Counting(spent)], polling=polling, data_logging=False) as found:
        yield found


def test_a_completion_and_its_stream(client: yagrpc.Client, spent: Spent) -> None:
    completion = client.completion("Say yes.", max_tokens=5, temperature=0)
    spent.add(completion, SYNC_UNITS)
    assert completion.text
    assert len(client.tokenize_completion("Say yes.")) == completion.usage.input_text_tokens
    chunks = list(client.completion_stream("Count to five.", max_tokens=20))
    spent.add(chunks[-1], SYNC_UNITS)
    text = ""
    for chunk in chunks:
        assert chunk.text == text[: chunk.kept] + chunk.delta
        text = chunk.text


def test_a_deferred_completion(client: yagrpc.Client, spent: Spent) -> None:
    operation = client.completion_async("Say no.", max_tokens=5)
    completion = operation.result(timeout=120)
    spent.add(completion, ASYNC_UNITS)
    assert completion.text
    assert client.operation(operation.id).result(timeout=60).text == completion.text


def test_a_deferred_completion_with_asyncio(spent: Spent) -> None:
    async def deferred() -> yagrpc.Completion:
        async with yagrpc.AsyncClient(model=MODEL, polling=yagrpc.Polling(first=3.0, shortest=3.0)) as client:
            operation = await client.completion_async("Say no.", max_tokens=5)
            return await operation.result(timeout=12)

    spent.requests += 5  # at most, by the timeout and the pace above
    completion = asyncio.run(deferred())
    spent.add(completion, ASYNC_UNITS)
    assert completion.text


def test_errors_of_the_service(client: yagrpc.Client) -> None:
    with pytest.raises(yagrpc.InvalidArgumentError):
        client.completion("Say yes.", model="gpt://")
    with pytest.raises(yagrpc.YagrpcError):
        client.operation("d7q00000000000000000").result(timeout=0)
