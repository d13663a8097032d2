"""yagrpc's blocking client: one thread submits, and takes the answers as they come."""

from __future__ import annotations

from concurrent import futures

import yagrpc
from common import Report, question, task


def main() -> None:
    """Run the task."""
    given = task()
    count = given["count"]
    quota = yagrpc.Quota(*[None] * len(yagrpc.Quota._fields))._replace(get_per_second=given["quota"])
    settings = {"folder_id": "f", "credentials": "AQVN-benchmark", "endpoint": given["address"], "plaintext": True}
    with yagrpc.Client(**settings, quota=quota) as client:
        report = Report(given)
        operations = [client.completion_async(question(number)) for number in range(count)]
        report.submitted()
        waited = {operation.future(): number for number, operation in enumerate(operations)}
        report.memory_while_pending()
        for future in futures.as_completed(waited):
            report.answered(waited[future], future.result().text)
        report.print()


main()
