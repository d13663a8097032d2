"""The proofreader for callers that do not wait: its rpc answers at once, with an operation that survives a restart.

    export PYTHONPATH=examples/proofreading/generated
    python examples/proofreading/server_operations.py --port 50051 --store operations.db

Its callers ask `OperationService` of this server for the result, as they would ask the cloud. Kill the server and start
it again: an operation that waits for the model's continues, and nothing is generated twice.
"""

from __future__ import annotations

import argparse
import logging
import signal
from concurrent import futures

import grpc

import yagrpc
from instruction import EXPOSED, INSTRUCTION
from proofreading_proto.proofreading_pb2 import CorrectRequest, CorrectResponse
from proofreading_proto.proofreading_pb2_grpc import AsyncProofreaderServicer, add_AsyncProofreaderServicer_to_server
from proofreading_proto.yandex.cloud.operation.operation_pb2 import Operation
from yagrpc import serving


class AsyncProofreader(AsyncProofreaderServicer):
    """The service.

    Args:
        client: Submits to the model.
        operations: Keeps the service's own operations.
    """

    def __init__(self, client: yagrpc.Client, operations: serving.OperationServicer) -> None:
        @operations.handler(name="correct", answer=corrected)
        def correct(request: CorrectRequest) -> yagrpc.Operation[yagrpc.Completion]:
            return client.completion_async(request.text, system=INSTRUCTION)

        self._correct = correct

    def Correct(self, request: CorrectRequest, context: grpc.ServicerContext) -> Operation:
        """Answer at once: the handler waits for a slot under the quota and submits, in the background."""
        operation: Operation = self._correct.submit(request, description="Correct a text")
        return operation


def corrected(completion: yagrpc.Completion) -> CorrectResponse:
    """The response of the service, of the model's result."""
    return CorrectResponse(text=completion.text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the proofreader with operations of its own.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 for a free one (default)")
    parser.add_argument("--store", default="operations.db", help="the file of operations (default operations.db)")
    options = parser.parse_args()
    logging.basicConfig()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM and Ctrl-C both run `finally`
    with (
        yagrpc.Client() as client,
        serving.OperationServicer(options.store, client, expose=EXPOSED, operation_type=Operation) as operations,
    ):
        server = grpc.server(
            futures.ThreadPoolExecutor(),
            interceptors=[serving.ServerInterceptor(expose=EXPOSED)],
            options=[("grpc.so_reuseport", 0)],
        )
        add_AsyncProofreaderServicer_to_server(AsyncProofreader(client, operations), server)
        operations.add_to(server)
        address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{options.port}')}"
        server.start()
        try:
            print(address, flush=True)
            server.wait_for_termination()
        except KeyboardInterrupt:
            print("stopped")
        finally:
            server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
