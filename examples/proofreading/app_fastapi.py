"""The proofreader over HTTP, with FastAPI.

    pip install fastapi uvicorn
    python examples/proofreading/app_fastapi.py --port 8000
    curl -d '{"text": "Малоко"}' -H 'content-type: application/json' http://127.0.0.1:8000/correct

The middleware of `yagrpc.serving` gives every call of the client the time of its request, ends it when the caller
leaves, passes on `traceparent` and the request id, and answers errors of yagrpc as `application/problem+json`.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

import yagrpc
from instruction import EXPOSED, INSTRUCTION
from yagrpc import serving

TIMEOUT = 60.0
"""Seconds that one request may take."""


class Text(BaseModel):
    """A text to correct, or a corrected one."""

    text: str


def make_app() -> FastAPI:
    """The application; it opens its client when it starts, and closes it at the end."""
    clients: list[yagrpc.AsyncClient] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with yagrpc.AsyncClient() as client:
            clients.append(client)
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(serving.Middleware, timeout=TIMEOUT, expose=EXPOSED)

    @app.post("/correct")
    async def correct(given: Text) -> Text:
        """Use asynchronous mode; an operation that is not done in time is in the header `yagrpc-operation-id`."""
        operation = await clients[0].completion_async(given.text, system=INSTRUCTION)
        return Text(text=(await operation.result()).text)

    @app.get("/operations/{operation_id}")
    async def collect(operation_id: str) -> Text:
        """The result of an operation that an earlier request did not wait for."""
        return Text(text=(await clients[0].operation(operation_id).result()).text)

    @app.post("/stream")
    async def stream(given: Text) -> StreamingResponse:
        """Use synchronous mode, and pass on the text as it grows, one version of it in each line."""
        texts = clients[0].completion_stream(given.text, system=INSTRUCTION)

        async def lines() -> AsyncIterator[str]:
            async with texts:
                async for chunk in texts:
                    yield chunk.text.replace("\n", " ") + "\n"

        return StreamingResponse(lines(), media_type="text/plain")

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the proofreader over HTTP.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 for a free one (default)")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", options.port)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(make_app(), log_level="warning")).run([listening])
    print("stopped")


if __name__ == "__main__":
    main()
