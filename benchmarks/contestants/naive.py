"""A naive loop on bare stubs: polls all pending operations again and again, and ignores refusals."""

from __future__ import annotations

import time

import grpc

from common import Report, question, task
from stubs import get_request, request, stubs, text_of


def main() -> None:
    """Run the task."""
    given = task()
    with grpc.insecure_channel(given["address"]) as channel:
        submit, get = stubs(channel)
        report = Report(given)
        pending = {submit(request(question(number))).id: number for number in range(given["count"])}
        report.submitted()
        until = time.monotonic() + given["patience"]
        while pending and time.monotonic() < until:
            for operation_id in list(pending):
                try:
                    operation = get(get_request(operation_id), timeout=10)
                except grpc.RpcError:
                    continue
                if operation.done:
                    report.answered(pending.pop(operation_id), text_of(operation))
        report.print()


main()
