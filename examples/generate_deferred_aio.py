"""Two misspelt texts, corrected in asynchronous mode, and two ways to wait for the answer: the asyncio twin.

    python examples/generate_deferred_aio.py

It talks to Yandex Cloud where `YC_API_KEY` and `YC_FOLDER_ID` are set, and otherwise to an emulator that it starts.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import grpc.aio

import yagrpc
from emulator_process import EmulatorProcessError, service
from misspelt import (
    INSTRUCTION,
    PARAGRAPH,
    SENTENCE,
    parse_options,
    show_accepted,
    show_delivered,
    show_sent,
)


class GetCounter(grpc.aio.UnaryUnaryClientInterceptor):
    """Counts the `OperationService.Get` calls that leave the client."""

    def __init__(self) -> None:
        self.gets = 0

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Called by gRPC around every unary call; on asyncio with the method's path as bytes."""
        path: str | bytes = client_call_details.method
        path = path.decode() if isinstance(path, bytes) else path
        self.gets += path == yagrpc.methods.OperationService.Get.path
        return await continuation(client_call_details, request)


async def wait_in_a_loop(client: yagrpc.AsyncClient, counter: GetCounter) -> None:
    """Look every second. Every look is a Get, and one that fails ends the loop."""
    show_sent("A paragraph, waited for by a loop: while not await operation.done(): await asyncio.sleep(1)", PARAGRAPH)
    operation = await client.completion_async(PARAGRAPH, system=INSTRUCTION)
    show_accepted(operation.id)
    before, started = counter.gets, time.monotonic()
    while not await operation.done():  # noqa: ASYNC110 - what it is compared with is the next function
        await asyncio.sleep(1)
    completion = await operation  # known by now: nothing is asked
    show_delivered(completion, gets=counter.gets - before, seconds=time.monotonic() - started)


async def wait_in_one_call(client: yagrpc.AsyncClient, counter: GetCounter, timeout: float) -> None:
    """Let yagrpc look: paced with all other operations of the client, ever more rarely, over failures that pass."""
    show_sent(f"A sentence, waited for by one call: await operation.result(timeout={timeout:g})", SENTENCE)
    operation = await client.completion_async(SENTENCE, system=INSTRUCTION)
    show_accepted(operation.id)
    before, started = counter.gets, time.monotonic()
    completion = await operation.result(timeout=timeout)
    show_delivered(completion, gets=counter.gets - before, seconds=time.monotonic() - started)


async def correct_both(timeout: float) -> None:
    counter = GetCounter()
    async with yagrpc.AsyncClient(interceptors=[counter]) as client:
        await wait_in_a_loop(client, counter)
        await wait_in_one_call(client, counter, timeout)


def main() -> int:
    options = parse_options("Correct two texts in asynchronous mode, on asyncio.")
    try:
        with service(options.duration):
            asyncio.run(correct_both(options.timeout))
    except (yagrpc.YagrpcError, EmulatorProcessError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was submitted goes on, and its id is above", file=sys.stderr)
        return 130
    print("\nTwo completions were delivered.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
