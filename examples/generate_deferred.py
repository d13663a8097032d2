"""Two misspelt texts, corrected in asynchronous mode, and two ways to wait for the answer.

    python examples/generate_deferred.py

It calls Yandex Cloud if `YC_API_KEY` and `YC_FOLDER_ID` are set; otherwise it starts an emulator.
`generate_deferred_aio.py` is the same program on asyncio.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import grpc

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


class GetCounter(grpc.UnaryUnaryClientInterceptor):
    """Counts the `OperationService.Get` calls that leave the client."""

    def __init__(self) -> None:
        self.gets = 0

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Called by gRPC around every unary call."""
        self.gets += client_call_details.method == yagrpc.methods.OperationService.Get.path
        return continuation(client_call_details, request)


def wait_in_a_loop(client: yagrpc.Client, counter: GetCounter) -> None:
    """Poll every second. Each poll is a Get, and a Get that fails ends the loop."""
    show_sent("A paragraph, waited for by a loop: while not operation.done(): time.sleep(1)", PARAGRAPH)
    operation = client.completion_async(PARAGRAPH, system=INSTRUCTION)
    show_accepted(operation.id)
    before, started = counter.gets, time.monotonic()
    while not operation.done():
        time.sleep(1)
    completion = operation.result()  # the result is known: this does not poll
    show_delivered(completion, gets=counter.gets - before, seconds=time.monotonic() - started)


def wait_in_one_call(client: yagrpc.Client, counter: GetCounter, timeout: float) -> None:
    """Let yagrpc poll: under the client's quota, less and less often, and again after a failure that may pass."""
    show_sent(f"A sentence, waited for by one call: operation.result(timeout={timeout:g})", SENTENCE)
    operation = client.completion_async(SENTENCE, system=INSTRUCTION)
    show_accepted(operation.id)
    before, started = counter.gets, time.monotonic()
    completion = operation.result(timeout=timeout)
    show_delivered(completion, gets=counter.gets - before, seconds=time.monotonic() - started)


def main() -> int:
    options = parse_options("Correct two texts in asynchronous mode.")
    counter = GetCounter()
    try:
        with service(options.duration), yagrpc.Client(interceptors=[counter]) as client:
            wait_in_a_loop(client, counter)
            wait_in_one_call(client, counter, options.timeout)
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
