"""Uses an installed yagrpc as a newcomer would: both clients and the command, against the emulator, without an account.

Errors that a user would not see count too: a log record of WARNING or worse, an exception in a thread or a destructor,
or a warning under `-W error` in one of these, is an AssertionError.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import grpc
import grpc.aio

import yagrpc
from yagrpc import methods

QUESTION = "How do you do?"
OPTIONS: yagrpc.CompletionParameters = {"system": "Answer in one sentence.", "temperature": 0.3, "max_tokens": 100}
TEXT_REQUEST: dict[str, Any] = {
    "model_uri": "gpt://demo/yandexgpt/latest",
    "completion_options": {"temperature": {"value": 0.3}},
    "messages": [{"role": "user", "text": QUESTION}],
}


FORKED = """
import os, sys, warnings, yagrpc
settings = {"folder_id": "demo", "credentials": yagrpc.NoCredentials(), "endpoint": sys.argv[1], "plaintext": True}
with yagrpc.Client(**settings) as client:
    before = len(client.tokenize("one two"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads; this test forks on purpose
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if len(client.tokenize("one two", timeout=20)) == before else 1)
        except yagrpc.ConfigError as error:
            print(error, flush=True)
            os._exit(3)
        except BaseException:
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert len(client.tokenize("one two")) == before
sys.exit(code)
"""
"""A client that is used before a fork, in the child, and after it in the parent."""


class Complaints(logging.Handler):
    """Collects errors that would otherwise only be printed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.collected: list[str] = []

    def __enter__(self) -> Complaints:
        logging.getLogger().addHandler(self)
        threading.excepthook = lambda given: self.collected.append(f"thread: {given.exc_value!r}")
        sys.unraisablehook = lambda given: self.collected.append(
            f"{given.err_msg or given.object!r}: {given.exc_value!r}"
        )
        return self

    def __exit__(self, *raised: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a record, except for one that gRPC logs without a reason."""
        error = record.exc_info[1] if record.exc_info else None
        # Two event loops in one process (here the emulator's and the client's) read one wake-up socket of gRPC's
        # poller, and the second one logs an error. Nothing is lost: https://github.com/grpc/grpc/issues/25364
        if isinstance(error, BlockingIOError) and "PollerCompletionQueue._handle_events" in record.getMessage():
            return
        self.collected.append(f"{record.name}: {record.getMessage()}" + (f": {error!r}" if error else ""))


def settings(address: str) -> dict[str, Any]:
    """The settings of both clients."""
    return {"folder_id": "demo", "credentials": yagrpc.NoCredentials(), "endpoint": address, "plaintext": True}


def use_client(address: str) -> list[object]:
    """Calls of the blocking client."""
    with yagrpc.Client(**settings(address)) as client:
        operation = client.completion_async(QUESTION, **OPTIONS)
        raw = client.call(
            methods.TextGenerationAsyncService.Completion,
            methods.TextGenerationAsyncService.Completion.request_type(**TEXT_REQUEST),
        )
        with client.completion_stream(QUESTION, **OPTIONS) as stream:
            streamed = "".join(chunk.delta for chunk in stream)
        request = methods.TokenizerService.Tokenize.request_type(model_uri=TEXT_REQUEST["model_uri"], text=QUESTION)
        try:
            client.operation("nothing").result(timeout=30)
        except yagrpc.OperationNotFoundError as error:
            refused = error.operation_id
        return [
            client.completion(QUESTION, **OPTIONS).text,
            streamed,
            operation.result(timeout=30).text,
            pickle.loads(pickle.dumps(client.operation(operation.id).result(timeout=30).proto)),
            raw.result(timeout=30),
            len(client.tokenize(QUESTION)),
            len(client.tokenize_completion(QUESTION, **OPTIONS)),
            client.call(methods.TokenizerService.Tokenize, request),
            refused,
        ]


async def use_async_client(address: str) -> list[object]:
    """The same calls of the asyncio client."""
    async with yagrpc.AsyncClient(**settings(address)) as client:
        operation = await client.completion_async(QUESTION, **OPTIONS)
        raw = await client.call(
            methods.TextGenerationAsyncService.Completion,
            methods.TextGenerationAsyncService.Completion.request_type(**TEXT_REQUEST),
        )
        async with client.completion_stream(QUESTION, **OPTIONS) as stream:
            streamed = "".join([chunk.delta async for chunk in stream])
        request = methods.TokenizerService.Tokenize.request_type(model_uri=TEXT_REQUEST["model_uri"], text=QUESTION)
        try:
            await client.operation("nothing").result(timeout=30)
        except yagrpc.OperationNotFoundError as error:
            refused = error.operation_id
        return [
            (await client.completion(QUESTION, **OPTIONS)).text,
            streamed,
            (await operation).text,
            pickle.loads(pickle.dumps((await client.operation(operation.id).result(timeout=30)).proto)),
            await raw.result(timeout=30),
            len(await client.tokenize(QUESTION)),
            len(await client.tokenize_completion(QUESTION, **OPTIONS)),
            await client.call(methods.TokenizerService.Tokenize, request),
            refused,
        ]


async def drop_stream() -> bool:
    """Whether a stream that the asyncio client drops ends at the server: newer versions of gRPC keep it running."""
    ended = asyncio.Event()

    async def endless(request: object, context: object) -> AsyncIterator[object]:
        try:
            while True:
                yield method.response_type()
                await asyncio.sleep(0.05)
        finally:
            ended.set()

    method = methods.TextGenerationService.Completion
    codec = (method.request_type.FromString, method.response_type.SerializeToString)
    handlers = {"Completion": grpc.unary_stream_rpc_method_handler(endless, *codec)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(method.path.split("/")[1], handlers),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with yagrpc.AsyncClient(**settings(address)) as client:
            stream = client.call(method, method.request_type())
            await stream.__anext__()
            del stream
            await asyncio.wait_for(ended.wait(), 30)
    except asyncio.TimeoutError:  # not the built-in one before Python 3.11
        return False
    finally:
        await server.stop(None)
    return True


def use_command(address: str) -> str:
    """One completion from the shell."""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-m", "yagrpc", "completion", QUESTION],
        env={**os.environ, "YAGRPC_EMULATOR_HOST": address, "YC_FOLDER_ID": "demo"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def use_fork(address: str) -> str:
    """A client in a forked child: it works, or its first call says why it cannot work."""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", FORKED, address],
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    refused = done.returncode == 3 and "fork" in done.stdout
    assert done.returncode == 0 or refused, done
    return "works" if done.returncode == 0 else "says that it cannot work"


def main() -> None:
    """Run everything, and print the versions."""
    with Complaints() as complaints:
        with yagrpc.emulator.Emulator(duration=0.5) as emulator:
            blocking, awaited = use_client(emulator.address), asyncio.run(use_async_client(emulator.address))
            printed = use_command(emulator.address)
            forked = use_fork(emulator.address) if hasattr(os, "fork") else "is not possible here"
        assert asyncio.run(drop_stream()), "a stream that was dropped runs on at the server"
        text, streamed, deferred, *_ = blocking
        assert QUESTION in str(text), text
        assert text == streamed == deferred, blocking
        assert blocking == awaited, (blocking, awaited)
        assert QUESTION in printed, printed
        assert not complaints.collected, complaints.collected
    versions = " ".join(f"{package} {version(package)}" for package in ("yagrpc", "grpcio", "protobuf"))
    print(f"delivered twice, and by the command, with {versions}; a client in a forked child {forked}")


if __name__ == "__main__":
    main()
