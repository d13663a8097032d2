"""The proofreader on asyncio: one event loop, one `yagrpc.AsyncClient`, any number of callers at a time.

    export PYTHONPATH=examples/proofreading/generated
    python examples/proofreading/server_aio.py --port 50051

When a caller leaves, gRPC cancels the task that serves the caller, and so everything that the task awaits.
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
        client: Shared by all tasks; the caller closes it.
    """

    def __init__(self, client: yagrpc.AsyncClient) -> None:
        self._client = client

    async def Correct(self, request: CorrectRequest, context: Context) -> CorrectResponse:
        """Use asynchronous mode, at half the price: submit, then wait as long as the caller does."""
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
        """Use synchronous mode, and pass on the text as it grows.

        The method uses `write`, which the generated base class does not declare. If it were a generator, and its
        caller left between two messages, only the garbage collector would end it; this method ends at once.
        """
        try:
            async with self._client.completion_stream(request.text, system=INSTRUCTION, **passed_on(context)) as stream:
                async for chunk in stream:
                    await context.write(CorrectResponse(text=chunk.text))
        except yagrpc.YagrpcError as error:
            await context.abort(*status_of(error))

    async def _abandon(self, operation: yagrpc.AsyncOperation[yagrpc.Completion]) -> None:
        """Ask the service to stop the operation: nobody waits for its result any longer."""
        try:
            await operation.cancel(timeout=ABANDON_SECONDS)
        except yagrpc.YagrpcError as error:
            log.warning("operation %s is still running, without a caller: %s", operation.id, error)


async def start(client: yagrpc.AsyncClient, port: int = 0) -> tuple[grpc.aio.Server, str]:
    """Serve on loopback; gives the server and its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_ProofreaderServicer_to_server(Proofreader(client), server)
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    return server, address


async def serve(port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C cancels this coroutine instead
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with yagrpc.AsyncClient() as client:
        server, address = await start(client, port)
        try:
            print(address, flush=True)
            await stop.wait()
            print("stopped")
        finally:
            await server.stop(grace=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the proofreader, from an event loop.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 for a free one (default)")
    options = parser.parse_args()
    logging.basicConfig()
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
