"""The proofreader with a thread pool: a gRPC service that calls the model through one `yagrpc.Client`.

    export PYTHONPATH=examples/proofreading/generated
    python examples/proofreading/server_sync.py --port 50051

The client uses channels that this service opens, with its own options, and closes. The interceptor of `yagrpc.serving`
gives every call of the client the deadline, the trace and the request id of the caller, ends it when the caller leaves,
and turns errors of yagrpc into statuses.
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
from instruction import ABANDON_SECONDS, EXPOSED, INSTRUCTION, log
from proofreading_proto.proofreading_pb2 import CorrectRequest, CorrectResponse
from proofreading_proto.proofreading_pb2_grpc import ProofreaderServicer, add_ProofreaderServicer_to_server
from yagrpc import serving

CALLERS = 32
"""Callers that are served at a time: each keeps a thread while it waits."""

CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # some answers are over gRPC's own limit
]


class Proofreader(ProofreaderServicer):
    """The service.

    Args:
        client: Shared by all threads; the caller closes it.
    """

    def __init__(self, client: yagrpc.Client) -> None:
        self._client = client

    def Correct(self, request: CorrectRequest, context: grpc.ServicerContext) -> CorrectResponse:
        """Use asynchronous mode, at half the price: submit, then wait as long as the caller does."""
        operation = self._client.completion_async(request.text, system=INSTRUCTION)
        try:
            completion = operation.result()
        except (yagrpc.CallCancelledError, yagrpc.OperationTimeoutError):
            self._abandon(operation)
            raise
        return CorrectResponse(text=completion.text)

    def CorrectStream(self, request: CorrectRequest, context: grpc.ServicerContext) -> Iterator[CorrectResponse]:
        """Use synchronous mode, and pass on the text as it grows."""
        with self._client.completion_stream(request.text, system=INSTRUCTION) as stream:
            for chunk in stream:
                yield CorrectResponse(text=chunk.text)

    def _abandon(self, operation: yagrpc.Operation[yagrpc.Completion]) -> None:
        """Ask the service to stop the operation: nobody waits for its result any longer."""
        try:
            with serving.detached():  # the caller has left, and this is sent all the same
                operation.cancel(timeout=ABANDON_SECONDS)
        except yagrpc.YagrpcError as error:
            log.warning("operation %s is still running, without a caller: %s", operation.id, error)


def start(client: yagrpc.Client, port: int = 0) -> tuple[grpc.Server, str]:
    """Serve on loopback; gives the server and its address."""
    interceptor = serving.ServerInterceptor(expose=EXPOSED)
    pool = futures.ThreadPoolExecutor(CALLERS)
    server = grpc.server(pool, interceptors=[interceptor], options=[("grpc.so_reuseport", 0)])
    add_ProofreaderServicer_to_server(Proofreader(client), server)
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    return server, address


def open_channel(endpoint: str) -> grpc.Channel:
    """Open a channel to the model service, or to an emulator if the environment names one."""
    emulator = os.environ.get("YAGRPC_EMULATOR_HOST")
    if emulator:
        return grpc.insecure_channel(emulator, [*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0)])
    return grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(), CHANNEL_OPTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the proofreader, from a thread pool.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 for a free one (default)")
    options = parser.parse_args()
    logging.basicConfig()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM and Ctrl-C both run `finally`
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
