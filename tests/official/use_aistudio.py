"""Puts the official AI Studio SDK to use against an emulator; run in an environment of that SDK's own.

Usage: use_aistudio.py sync|async ADDRESS [CA_FILE]. Without a CA file it speaks plaintext. Nothing of yagrpc is here;
what is printed is one JSON object, which the test that started this checks.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any

from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio  # type: ignore[import-not-found]

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}


def arguments() -> dict[str, Any]:
    """The arguments of the SDK: unchanged, but for its endpoint and TLS."""
    _, _, address, *roots = sys.argv
    return {"folder_id": "b1gfolder", "auth": "secret", "endpoint": address, "verify": roots[0] if roots else False}


async def settled(value: Any) -> Any:
    """What the asynchronous SDK gives to be awaited, and the other one at once."""
    return await value if inspect.isawaitable(value) else value


async def listed(values: Any) -> list[Any]:
    """All items of an iterator of either kind."""
    return [item async for item in values] if hasattr(values, "__aiter__") else list(values)


async def use(sdk: Any) -> dict[str, Any]:
    """Everything that the emulator claims to serve the SDK with."""
    said: dict[str, Any] = {}
    model = sdk.models.completions("yandexgpt").configure(temperature=0.5, max_tokens=500)
    result = await settled(model.run([{"role": "system", "text": "Be brief."}, {"role": "user", "text": "ping"}]))
    said["run"] = {"text": result[0].text, "status": result[0].status.name, "tokens": result.usage.total_tokens}
    chunks = await listed(model.run_stream("Tell me a long story about platypuses"))
    said["run_stream"] = {"texts": [chunk[0].text for chunk in chunks], "status": chunks[-1][0].status.name}

    operation = await settled(model.run_deferred("deferred"))
    status = await settled(operation.get_status())
    said["deferred"] = {"id": operation.id, "running": status.is_running}
    result = await settled(operation.wait(poll_interval=0.05, timeout=60))
    status = await settled(operation.get_status())
    said["deferred"] |= {"text": result[0].text, "succeeded": status.is_succeeded}
    attached = sdk.models.completions("yandexgpt").attach_deferred if hasattr(model, "attach_deferred") else None
    if attached is not None:
        again = await settled(attached(operation.id))
        said["attached"] = (await settled(again.get_result()))[0].text

    said["tokenize"] = [token.text for token in await settled(model.tokenize("ping"))]

    tool = sdk.tools.function(PARAMETERS, name="weather", description="Tells the weather")
    tooled = model.configure(tools=[tool])
    asked = await settled(tooled.run("What is the weather?"))
    (call,) = asked.tool_calls
    said["tool_call"] = {"name": call.function.name, "arguments": call.function.arguments, "status": asked.status.name}
    answers = {"tool_results": [{"name": "weather", "content": "sunny"}]}
    said["tool_result"] = (await settled(tooled.run(["What is the weather?", asked, answers]))).text

    structured = model.configure(response_format={"name": "trip", "json_schema": PARAMETERS})
    said["schema"] = json.loads((await settled(structured.run("a trip")))[0].text)
    said["json"] = json.loads((await settled(model.configure(response_format="json").run("some JSON")))[0].text)

    vector = await settled(sdk.models.text_embeddings("doc").run("hello"))
    said["embedding"] = len(vector.embedding)
    classifier = sdk.models.text_classifiers("yandexgpt").configure(
        task_description="mood", labels=["good", "bad"], samples=[]
    )
    predictions = (await settled(classifier.run("bad luck"))).predictions
    said["classes"] = {prediction["label"]: prediction["confidence"] for prediction in predictions}
    drawing = await settled(sdk.models.image_generation("yandex-art").run_deferred("a platypus"))
    image = await settled(drawing.wait(poll_interval=0.05, timeout=60))
    said["image"] = {"id": drawing.id, "start": image.image_bytes[:3].hex()}

    try:
        await settled(model.configure(temperature=2).run("too hot"))
    except Exception as error:  # its class is in the official package, its text is checked
        said["refused"] = f"{type(error).__name__}: {error}"
    return said


if __name__ == "__main__":
    kind = AIStudio if sys.argv[1] == "sync" else AsyncAIStudio
    print(json.dumps(asyncio.run(use(kind(**arguments()))), ensure_ascii=False))
