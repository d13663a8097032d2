"""The proofreader on asyncio: one event loop, one `yagrpc.AsyncClient`, any number of callers at a time.

    export PYTHONPATH=examples/proofreading/generated
    python examples/proofreading/server_aio.py --port 50051

The interceptor of `yagrpc.serving` gives every call of the client the deadline, the trace and the request id of the
caller, ends it when the caller leaves, and turns errors of yagrpc into statuses.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc.aio

import yagrpc
from instruction import ABANDON_SECONDS, EXPOSED, INSTRUCTION, log
from proofreading_proto.proofreading_pb2 import CorrectRequest, CorrectResponse
from proofreading_proto.proofreading_pb2_grpc import ProofreaderServicer, add_ProofreaderServicer_to_server
from yagrpc import serving

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
        operation = await self._client.completion_async(request.text, system=INSTRUCTION)
        try:
            completion = await operation.result()
        except (asyncio.CancelledError, yagrpc.CallCancelledError, yagrpc.OperationTimeoutError):
            await asyncio.shield(self._abandon(operation))  # gRPC may cancel this task meanwhile
            raise
        return CorrectResponse(text=completion.text)

    async def CorrectStream(self, request: CorrectRequest, context: Context) -> AsyncIterator[CorrectResponse]:
        """Use synchronous mode, and pass on the text as it grows."""
        async with self._client.completion_stream(request.text, system=INSTRUCTION) as stream:
            async for chunk in stream:
                yield CorrectResponse(text=chunk.text)

    async def _abandon(self, operation: yagrpc.AsyncOperation[yagrpc.Completion]) -> None:
        """Ask the service to stop the operation: nobody waits for its result any longer."""
        try:
            with serving.detached():  # the caller has left, and this is sent all the same
                await operation.cancel(timeout=ABANDON_SECONDS)
        except yagrpc.YagrpcError as error:
            log.warning("operation %s is still running, without a caller: %s", operation.id, error)


async def start(client: yagrpc.AsyncClient, port: int = 0) -> tuple[grpc.aio.Server, str]:
    """Serve on loopback; gives the server and its address."""
    interceptor = serving.AsyncServerInterceptor(expose=EXPOSED)
    server = grpc.aio.server(interceptors=[interceptor], options=[("grpc.so_reuseport", 0)])
    add_ProofreaderServicer_to_server(Proofreader(client), server)
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    return server, address


async def serve(port: int, events: yagrpc.Events | None = None) -> None:
    """Serve until SIGINT or SIGTERM; the events of the client may go to a subscriber."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C cancels this coroutine instead
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with yagrpc.AsyncClient(events=events) as client:
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
    parser.add_argument("--trace", metavar="FILE", help="write the spans of this process to a file")
    options = parser.parse_args()
    logging.basicConfig()
    events = None
    if options.trace:
        from tracing import set_up  # it needs OpenTelemetry's SDK

        events = set_up(options.trace)
    asyncio.run(serve(options.port, events))


if __name__ == "__main__":
    main()
