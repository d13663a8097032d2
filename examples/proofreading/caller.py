"""Calls both methods of either server: `python examples/proofreading/caller.py 127.0.0.1:50051 "Малоко"`."""

from __future__ import annotations

import argparse
import sys
import uuid

import grpc

from proofreading_proto.proofreading_pb2 import CorrectRequest
from proofreading_proto.proofreading_pb2_grpc import ProofreaderStub


def main() -> int:
    parser = argparse.ArgumentParser(description="Have a text corrected.")
    parser.add_argument("address", help="where the server listens, host:port")
    parser.add_argument("text", help="the text to correct")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for each call (default 60)")
    parser.add_argument("--trace", metavar="FILE", help="write the spans of this process to a file")
    options = parser.parse_args()
    if options.trace:
        from tracing import set_up_caller  # it needs OpenTelemetry's SDK

        set_up_caller(options.trace)
    request = CorrectRequest(text=options.text)
    with grpc.insecure_channel(options.address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = ProofreaderStub(channel)
        try:
            metadata = (("x-request-id", str(uuid.uuid4())),)
            print("Correct:", stub.Correct(request, timeout=options.timeout, metadata=metadata).text)
            metadata = (("x-request-id", str(uuid.uuid4())),)
            for answer in stub.CorrectStream(request, timeout=options.timeout, metadata=metadata):
                print("CorrectStream:", answer.text)
        except grpc.RpcError as error:
            print(f"failed: {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
