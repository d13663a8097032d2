"""Texts of a file, answered by async-batch-llm around yagrpc's client."""

import asyncio
import json
from pathlib import Path
from typing import Any

from async_batch_llm import (  # type: ignore[import-not-found]
    ArtifactIdentity,
    CallableStrategy,
    CallOutcome,
    JsonlArtifactStore,
    ProcessorConfig,
    ResumePolicy,
    process_prompts,
)

import yagrpc


async def answers(rows: list[str]) -> list[str | None]:
    identity = ArtifactIdentity(provider="yandex", model="yandexgpt")
    config = ProcessorConfig(concurrency=len(rows), attempt_timeout=600)
    async with yagrpc.AsyncClient() as client:

        async def invoke(prompt: str, *, attempt: int, timeout: float, state: Any) -> CallOutcome[str]:
            operation = await client.completion_async(prompt)
            return CallOutcome((await operation.result(timeout=timeout)).text)

        batch = await process_prompts(
            CallableStrategy(invoke, identity=identity),
            rows,
            config=config,
            artifact_store=JsonlArtifactStore("journal.jsonl", identity=identity, fsync=True),
            resume=ResumePolicy.REUSE_SUCCESSES,
            preserve_order=True,
        )
    return [result.output for result in batch.results]


texts = asyncio.run(answers(Path("rows.txt").read_text("utf-8").splitlines()))
Path("answers.json").write_text(json.dumps(texts), "utf-8")
