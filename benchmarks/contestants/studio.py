"""`yandex-ai-studio-sdk`, asynchronous: `run_deferred`, and `wait` with its own defaults, all operations at once."""

from __future__ import annotations

import asyncio
import sys

from yandex_ai_studio_sdk import AsyncAIStudio  # type: ignore[import-not-found]
from yandex_ai_studio_sdk.auth import APIKeyAuth  # type: ignore[import-not-found]

from common import Report, question, task


async def main() -> None:
    """Run the task."""
    given = task()
    address = given["address"]
    services = dict.fromkeys(("ai-foundation-models", "operation", "ai-llm", "iam"), address)
    sdk = AsyncAIStudio(
        folder_id="f", auth=APIKeyAuth("AQVN-benchmark"), endpoint=None, service_map=services, verify=False
    )
    model = sdk.models.completions("yandexgpt")
    report = Report(given)
    operations = [await model.run_deferred(question(number)) for number in range(given["count"])]

    async def wait(number: int) -> None:
        try:
            result = await operations[number].wait()
        except Exception as error:
            report.failed += 1
            print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr)
        else:
            report.answered(number, result.alternatives[0].text)

    report.submitted()
    waits = [asyncio.ensure_future(wait(number)) for number in range(given["count"])]
    await asyncio.sleep(0.5)
    report.memory_while_pending()
    _, late = await asyncio.wait(waits, timeout=given["patience"])
    for one in late:
        one.cancel()
    report.print()


asyncio.run(main())
