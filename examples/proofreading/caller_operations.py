"""Has a text corrected later, by `server_operations.py`; the id that it prints is all that is needed to wait again.

python examples/proofreading/caller_operations.py 127.0.0.1:50051 --text "Малоко"    # prints the id
python examples/proofreading/caller_operations.py 127.0.0.1:50051 --id ID            # waits, and prints the text
"""

from __future__ import annotations

import argparse
import sys

import yagrpc
from proofreading_proto.methods import AsyncProofreader
from proofreading_proto.proofreading_pb2 import CorrectRequest


def main() -> int:
    parser = argparse.ArgumentParser(description="Have a text corrected later.")
    parser.add_argument("address", help="where the server listens, host:port")
    parser.add_argument("--text", help="a text to correct")
    parser.add_argument("--id", help="the id of an operation to wait for")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait (default 60)")
    options = parser.parse_args()
    # The client of yagrpc works with any service of this style: here with the proofreader, and its operations.
    with yagrpc.Client(endpoint=options.address, plaintext=True, credentials=yagrpc.NoCredentials()) as client:
        try:
            if options.text is not None:
                request = CorrectRequest(text=options.text)
                print(client.call(AsyncProofreader.Correct, request, timeout=options.timeout).id)
            if options.id is not None:
                operation = client.operation(options.id, AsyncProofreader.Correct)
                print(operation.result(timeout=options.timeout).text)
        except yagrpc.YagrpcError as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
