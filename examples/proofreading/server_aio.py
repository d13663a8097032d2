"""The same service on asyncio: one event loop, one `yagrpc.AsyncClient`, any number of callers at a time.

    export PYTHONPATH=examples/proofreading/generated
    python examples/proofreading/server_aio.py --port 50051

When a caller leaves, gRPC cancels the task that serves it, and what that task awaits is cancelled with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc.aio

import yagrpc
from proofreading_proto.proofreading_pb2 import CorrectRequest, CorrectResponse
from proofreading_proto.proofreading_pb2_grpc import ProofreaderServicer, add_ProofreaderServicer_to_server
from serving import ABANDON_SECONDS, INSTRUCTION, log, passed_on, seconds_left, status_of

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Proofreader(ProofreaderServicer):
    """The service.

    Args:
        client: Shared by all tasks; closed by whoever made it.
    """

    def __init__(self, client: yagrpc.AsyncClient) -> None:
        self._client = client

    async def Correct(self, request: CorrectRequest, context: Context) -> CorrectResponse:
        """In asynchronous mode, which is half the price: submitted, then waited for as long as the caller does."""
        try:
            operation = await self._client.completion_async(request.text, system=INSTRUCTION, **passed_on(context))
            try:
                completion = await operation.result(timeout=seconds_left(context))
            except (asyncio.CancelledError, yagrpc.OperationTimeoutError):
                await self._abandon(operation)
                raise
        except yagrpc.YagrpcError as error:
            await context.abort(*status_of(error))
        return CorrectResponse(text=completion.text)

    async def CorrectStream(self, request: CorrectRequest, context: Context) -> None:  # type: ignore[override]
        """In synchronous mode, passed on as it grows.

        Written with `write`, which the type of the generated base class does not know: a generator whose caller
        leaves between two messages is ended by the garbage collector, this is ended at once.
        """
        try:
            async with self._client.completion_stream(request.text, system=INSTRUCTION, **passed_on(context)) as stream:
                async for chunk in stream:
                    await context.write(CorrectResponse(text=chunk.text))
        except yagrpc.YagrpcError as error:
            await context.abort(*status_of(error))

    async def _abandon(self, operation: yagrpc.AsyncOperation[yagrpc.Completion]) -> None:
        """Have the model stop, as far as it can: nobody waits for the result any longer."""
        try:
            await operation.cancel(timeout=ABANDON_SECONDS)
        except yagrpc.YagrpcError as error:
            log.warning("operation %s goes on without a caller: %s", operation.id, error)


async def start(client: yagrpc.AsyncClient, port: int = 0) -> tuple[grpc.aio.Server, str]:
    """Serve on loopback; gives the server and its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_ProofreaderServicer_to_server(Proofreader(client), server)
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    return server, address


async def serve(port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C cancels this coroutine instead
            asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with yagrpc.AsyncClient() as client:
        server, address = await start(client, port)
        try:
            print(address, flush=True)
            await told.wait()
            print("stopped")
        finally:
            await server.stop(grace=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the proofreader, from an event loop.")
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0 for any free one (default)")
    options = parser.parse_args()
    logging.basicConfig()
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
