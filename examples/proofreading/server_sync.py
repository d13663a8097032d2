"""A gRPC service with a thread pool that calls the model through one `yagrpc.Client`.

    export PYTHONPATH=examples/proofreading/generated
    python examples/proofreading/server_sync.py --port 50051

The client goes over the channels of this service, which opens them with options of its own and closes them.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Iterator
from concurrent import futures

import grpc

import yagrpc
from proofreading_proto.proofreading_pb2 import CorrectRequest, CorrectResponse
from proofreading_proto.proofreading_pb2_grpc import ProofreaderServicer, add_ProofreaderServicer_to_server
from serving import ABANDON_SECONDS, INSTRUCTION, log, passed_on, seconds_left, status_of

CALLERS = 32
"""How many are served at a time: each holds a thread while it waits."""

CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # gRPC's own limit is below some answers
]


class Proofreader(ProofreaderServicer):
    """The service.

    Args:
        client: Shared by all threads; closed by whoever made it.
    """

    def __init__(self, client: yagrpc.Client) -> None:
        self._client = client

    def Correct(self, request: CorrectRequest, context: grpc.ServicerContext) -> CorrectResponse:
        """In asynchronous mode, which is half the price: submitted, then waited for as long as the caller does."""
        try:
            operation = self._client.completion_async(request.text, system=INSTRUCTION, **passed_on(context))
            waiting = operation.future()

            def left() -> None:
                waiting.cancel()

            if not context.add_callback(left):  # too late for a callback: the caller is gone already
                left()
            try:
                completion = waiting.result(timeout=seconds_left(context))
            except (futures.CancelledError, futures.TimeoutError):
                code = grpc.StatusCode.CANCELLED if waiting.cancelled() else grpc.StatusCode.DEADLINE_EXCEEDED
                waiting.cancel()
                self._abandon(operation)
                context.abort(code, f"operation {operation.id}: nobody waits for it any longer")
        except yagrpc.YagrpcError as error:
            context.abort(*status_of(error))
        return CorrectResponse(text=completion.text)

    def CorrectStream(self, request: CorrectRequest, context: grpc.ServicerContext) -> Iterator[CorrectResponse]:
        """In synchronous mode, passed on as it grows."""
        try:
            with self._client.completion_stream(request.text, system=INSTRUCTION, **passed_on(context)) as stream:
                if not context.add_callback(stream.close):  # the caller is gone already
                    return
                for chunk in stream:
                    yield CorrectResponse(text=chunk.text)
        except yagrpc.YagrpcError as error:
            context.abort(*status_of(error))

    def _abandon(self, operation: yagrpc.Operation[yagrpc.Completion]) -> None:
        """Have the model stop, as far as it can: nobody waits for the result any longer."""
        try:
            operation.cancel(timeout=ABANDON_SECONDS)
        except yagrpc.YagrpcError as error:
            log.warning("operation %s goes on without a caller: %s", operation.id, error)


def start(client: yagrpc.Client, port: int = 0) -> tuple[grpc.Server, str]:
    """Serve on loopback; gives the server and its address."""
    server = grpc.server(futures.ThreadPoolExecutor(CALLERS), options=[("grpc.so_reuseport", 0)])
    add_ProofreaderServicer_to_server(Proofreader(client), server)
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    return server, address


def open_channel(endpoint: str) -> grpc.Channel:
    """A channel of this service's own, to the model service or, where the environment names one, to an emulator."""
    emulator = os.environ.get("YAGRPC_EMULATOR_HOST")
    if emulator:
        return grpc.insecure_channel(emulator, CHANNEL_OPTIONS)
    return grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(), CHANNEL_OPTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the proofreader, from a thread pool.")
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0 for any free one (default)")
    options = parser.parse_args()
    logging.basicConfig()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both ways to end it go through `finally`
    with (
        open_channel("llm.api.cloud.yandex.net:443") as models,
        open_channel("operation.api.cloud.yandex.net:443") as operations,
        yagrpc.Client(channel=models, operation_channel=operations) as client,
    ):
        server, address = start(client, options.port)
        try:
            print(address, flush=True)
            server.wait_for_termination()
        except KeyboardInterrupt:
            print("stopped")
        finally:
            server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
