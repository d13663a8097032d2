"""Naive tasks in asyncio, on bare stubs: one task for each operation polls it every second."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from common import Report, question, task
from stubs import get_request, request, stubs, text_of


async def main() -> None:
    """Run the task."""
    given = task()
    async with grpc.aio.insecure_channel(given["address"]) as channel:
        submit, get = stubs(channel)
        report = Report(given)
        ids = [(await submit(request(question(number)))).id for number in range(given["count"])]

        async def wait(number: int) -> None:
            while True:
                try:
                    operation = await get(get_request(ids[number]), timeout=10)
                except grpc.RpcError:
                    pass
                else:
                    if operation.done:
                        report.answered(number, text_of(operation))
                        return
                await asyncio.sleep(1.0)

        report.submitted()
        waits = [asyncio.ensure_future(wait(number)) for number in range(given["count"])]
        await asyncio.sleep(0.5)
        report.memory_while_pending()
        _, late = await asyncio.wait(waits, timeout=given["patience"])
        for one in late:
            one.cancel()
        report.print()


asyncio.run(main())
