"""yagrpc's asyncio client: one task submits, and takes the answers as they come."""

from __future__ import annotations

import asyncio
import functools

import yagrpc
from common import Report, question, task


async def main() -> None:
    """Run the task."""
    given = task()
    count = given["count"]
    quota = yagrpc.Quota(*[None] * len(yagrpc.Quota._fields))._replace(get_per_second=given["quota"])
    settings = {"folder_id": "f", "credentials": "AQVN-benchmark", "endpoint": given["address"], "plaintext": True}
    async with yagrpc.AsyncClient(**settings, quota=quota) as client:
        report = Report(given)
        operations = [await client.completion_async(question(number)) for number in range(count)]
        report.submitted()
        waited = [operation.future() for operation in operations]
        report.memory_while_pending()
        for number, future in enumerate(waited):
            future.add_done_callback(functools.partial(count_answer, report, number))
        await asyncio.wait(waited)
        report.print()


def count_answer(report: Report, number: int, future: asyncio.Future[yagrpc.Completion]) -> None:
    """Count an answer; a failure is no answer."""
    if future.exception() is None:
        report.answered(number, future.result().text)


asyncio.run(main())
