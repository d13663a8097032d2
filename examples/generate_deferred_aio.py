"""Two misspelt texts, corrected in asynchronous mode, and two ways to wait for the answer, on asyncio.

    python examples/generate_deferred_aio.py

It calls Yandex Cloud if `YC_API_KEY` and `YC_FOLDER_ID` are set; otherwise it starts an emulator.
`generate_deferred.py` is the same program with the blocking client.
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
    """Poll every second. Each poll is a Get, and a Get that fails ends the loop."""
    show_sent("A paragraph, waited for by a loop: while not await operation.done(): await asyncio.sleep(1)", PARAGRAPH)
    operation = await client.completion_async(PARAGRAPH, system=INSTRUCTION)
    show_accepted(operation.id)
    before, started = counter.gets, time.monotonic()
    while not await operation.done():  # noqa: ASYNC110 - the next function shows the better way
        await asyncio.sleep(1)
    completion = await operation  # the result is known: this does not poll
    show_delivered(completion, gets=counter.gets - before, seconds=time.monotonic() - started)


async def wait_in_one_call(client: yagrpc.AsyncClient, counter: GetCounter, timeout: float) -> None:
    """Let yagrpc poll: under the client's quota, less and less often, and again after a failure that may pass."""
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
        print("interrupted; the operations above are still running", file=sys.stderr)
        return 130
    print("\nTwo completions were delivered.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
