"""Both clients in one process: the official package's and ours, imported in the order that is asked for.

    python -W error beside_official.py official yagrpc
    python -W error beside_official.py yagrpc official

Run inside an environment that has both. Each talks to one emulator, through its own stubs and messages, by turns and
at once; and each takes messages of the other, where ours is documented to. What does not hold is an AssertionError.
"""

from __future__ import annotations

import asyncio
import importlib
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

QUESTION = "How do you do, number {}?"
GENERATION = "ai.foundation_models.v1.text_generation.text_generation_service_pb2"


class Official:
    """The official client, as its users write it."""

    def __init__(self, address: str) -> None:
        yandexcloud = load("yandexcloud")
        self.types = load(f"yandex.cloud.{GENERATION}")
        stubs = load(f"yandex.cloud.{GENERATION}_grpc")
        operations = load("yandex.cloud.operation.operation_service_pb2_grpc")
        self._get_request = load("yandex.cloud.operation.operation_service_pb2").GetOperationRequest
        sdk = yandexcloud.SDK(iam_token="t1.isolation")
        self._generation = sdk.client(stubs.TextGenerationAsyncServiceStub, endpoint=address, insecure=True)
        self._operations = sdk.client(operations.OperationServiceStub, endpoint=address, insecure=True)

    def request(self, text: str) -> Any:
        """A request of its own class, with one of google.protobuf's own wrappers in it."""
        wrappers = load("google.protobuf.wrappers_pb2")
        common = load("yandex.cloud.ai.foundation_models.v1.text_common_pb2")
        options = common.CompletionOptions(temperature=wrappers.DoubleValue(value=0.25))
        messages = [common.Message(role="user", text=text)]
        return self.types.CompletionRequest(
            model_uri="gpt://demo/yandexgpt/latest", completion_options=options, messages=messages
        )

    def submit(self, text: str) -> str:
        """The id of a new operation."""
        return str(self._generation.Completion(self.request(text)).id)

    def result(self, operation_id: str) -> Any:
        """What came of an operation that is done."""
        operation = self._operations.Get(self._get_request(operation_id=operation_id))
        assert operation.done, operation
        response = self.types.CompletionResponse()
        assert operation.response.Unpack(response), operation
        return response


def load(name: str) -> Any:
    """Import a module by its name: the type checker's environment has no official package."""
    return importlib.import_module(name)


def answer(response: Any) -> str:
    """The text of a raw response."""
    return str(response.alternatives[0].message.text)


def separate() -> None:
    """Nothing of the one is the other's, though all names are equal."""
    ours, theirs = load(f"yagrpc_proto.yandex.cloud.{GENERATION}"), load(f"yandex.cloud.{GENERATION}")
    default = load("google.protobuf.descriptor_pool").Default()
    assert ours.DESCRIPTOR.name == theirs.DESCRIPTOR.name
    assert ours.DESCRIPTOR.pool is not default
    assert theirs.DESCRIPTOR.pool is default
    assert ours.CompletionRequest is not theirs.CompletionRequest
    assert ours.CompletionRequest.DESCRIPTOR.full_name == theirs.CompletionRequest.DESCRIPTOR.full_name
    for module in (ours, theirs):
        request = module.CompletionRequest(model_uri="gpt://f/m", completion_options={"temperature": {"value": 0.5}})
        again = pickle.loads(pickle.dumps(request))
        assert (type(again), again) == (type(request), request)
        assert not isinstance(request, (theirs if module is ours else ours).CompletionRequest)


def blocking(yagrpc: Any, emulator: Any, official: Official) -> None:
    """Our blocking client, with the official messages in all places that take ours."""
    method = yagrpc.methods.TextGenerationAsyncService.Completion
    settings = {"credentials": yagrpc.NoCredentials(), "endpoint": emulator.address, "plaintext": True}
    with yagrpc.Client(folder_id="demo", **settings) as client:
        request = official.request(QUESTION.format(1))
        raw = client.call(method, request)
        easy = client.completion_async(list(request.messages))
        theirs = official.submit(QUESTION.format(2))
        emulator.advance(3600)
        assert type(raw.result(timeout=30)) is method.response_type
        assert QUESTION.format(1) in answer(raw.result(timeout=30))
        assert QUESTION.format(1) in easy.result(timeout=30).text
        # Each reads the operations of the other, into its own types.
        assert QUESTION.format(2) in client.operation(theirs).result(timeout=30).text
        as_theirs = client.operation(raw.id, official.types.CompletionResponse).result(timeout=30)
        assert type(as_theirs) is official.types.CompletionResponse
        assert as_theirs == official.result(raw.id)
        converted = yagrpc.convert(method.response_type, as_theirs)
        assert converted == raw.result(timeout=30)


async def asynchronous(yagrpc: Any, emulator: Any, official: Official) -> None:
    """The same of the asyncio client, in short."""
    method = yagrpc.methods.TextGenerationAsyncService.Completion
    settings = {"credentials": yagrpc.NoCredentials(), "endpoint": emulator.address, "plaintext": True}
    async with yagrpc.AsyncClient(folder_id="demo", **settings) as client:
        raw = await client.call(method, official.request(QUESTION.format(3)))
        emulator.advance(3600)
        assert QUESTION.format(3) in answer(await raw.result(timeout=30))
        assert QUESTION.format(3) in answer(await asyncio.to_thread(official.result, raw.id))


def at_once(yagrpc: Any, emulator: Any, official: Official) -> None:
    """Forty operations of both, from threads; each answer is compared with its own question."""
    settings = {"credentials": yagrpc.NoCredentials(), "endpoint": emulator.address, "plaintext": True}
    with yagrpc.Client(folder_id="demo", **settings) as client, ThreadPoolExecutor(8) as pool:
        questions = [QUESTION.format(number) for number in range(100, 140)]

        def submit(number: int) -> str:
            if number % 2:
                return official.submit(questions[number])
            return str(client.completion_async(questions[number]).id)

        ids = list(pool.map(submit, range(len(questions))))
        emulator.advance(3600)

        def read(number: int) -> str:
            if number % 3:
                return answer(official.result(ids[number]))
            return str(client.operation(ids[number]).result(timeout=60).text)

        for question, text in zip(questions, pool.map(read, range(len(questions))), strict=True):
            assert question in text, (question, text)


def main(order: list[str]) -> None:
    """Import in that order, and run all."""
    assert sorted(order) == ["official", "yagrpc"], order
    imported = {"official": [f"yandex.cloud.{GENERATION}_grpc"], "yagrpc": ["yagrpc", "yagrpc.emulator"]}
    for first in order:
        for name in imported[first]:
            load(name)
        if first == "yagrpc":
            load("yagrpc._pb").load_messages()
    yagrpc = load("yagrpc")
    with yagrpc.emulator.Emulator(duration=60, quota=None) as emulator:
        official = Official(emulator.address)
        separate()
        blocking(yagrpc, emulator, official)
        asyncio.run(asynchronous(yagrpc, emulator, official))
        at_once(yagrpc, emulator, official)
    print("both clients talk, imported", " before ".join(order))


if __name__ == "__main__":
    main(sys.argv[1:])
