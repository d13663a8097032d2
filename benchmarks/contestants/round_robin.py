"""Round-robin on bare stubs, in asyncio: polls one operation after the other, evenly under the quota."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import grpc
import grpc.aio

from common import Report, question, task
from stubs import get_request, request, stubs, text_of

UNLIMITED = 500.0
"""Gets a second where no quota limits them."""


async def main() -> None:
    """Run the task."""
    given = task()
    async with grpc.aio.insecure_channel(given["address"]) as channel:
        submit, get = stubs(channel)
        report = Report(given)
        pending: deque[tuple[int, str]] = deque()
        for number in range(given["count"]):
            pending.append((number, (await submit(request(question(number)))).id))
        left = given["count"]

        async def once(number: int, operation_id: str) -> None:
            nonlocal left
            try:
                operation = await get(get_request(operation_id), timeout=10)
            except grpc.RpcError:
                pending.append((number, operation_id))
                return
            if operation.done:
                left -= 1
                report.answered(number, text_of(operation))
            else:
                pending.append((number, operation_id))

        report.submitted()
        interval = 1 / (given["quota"] * 0.98 if given["quota"] else UNLIMITED)
        start = due = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        while left and due < start + given["patience"]:
            if pending:
                one = asyncio.ensure_future(once(*pending.popleft()))
                under_way.add(one)
                one.add_done_callback(under_way.discard)
            due = max(due + interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        report.print()


asyncio.run(main())
