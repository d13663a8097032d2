"""A server with long-running rpcs, of either kind; run as a program, it is one that a test can kill.

    python tests/serving/operations_host.py sync operations.db

Each of its rpcs is a handler: `echo` gives a message, `model` an operation of the model's, and so on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import grpc.aio

import yagrpc
from yagrpc import _pb, serving

QUICK = yagrpc.Polling(first=0.01, shortest=0.01, longest=0.05)

Request = _pb.text_generation_service_pb2.TokenizeRequest
Response = _pb.text_generation_service_pb2.TokenizeResponse


def settings(address: str) -> dict[str, Any]:
    """The settings of a client."""
    return {
        "endpoint": address,
        "plaintext": True,
        "folder_id": "folder",
        "credentials": yagrpc.NoCredentials(),
        "polling": QUICK,
    }


def answer(completion: yagrpc.Completion) -> Any:
    """The response of the model's result."""
    if "unreadable" in completion.text:
        raise ValueError("this answer is not what was asked for")
    return Response(model_version=completion.text)


class Host:
    """What both kinds have in common.

    Args:
        store: The servicer's store.
        model: The address of the model.
        clock: The servicer's clock.
        options: Further settings of the servicer.
    """

    def __init__(self, store: Any, model: str, clock: Callable[[], float] = time.time, **options: Any) -> None:
        self.given = {"store": store, "clock": clock, **options}
        self.model = model
        self.handlers: dict[str, Any] = {}
        self.ran: list[str] = []
        self.go = threading.Event()
        self.address = ""

    def declare(self, client: Any, servicer: Any) -> None:
        """Declare the handlers."""
        raise NotImplementedError


class BlockingHost(Host):
    """A `grpc.server`."""

    def __enter__(self) -> BlockingHost:
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(yagrpc.Client(**settings(self.model)))
            servicer = self.servicer = serving.OperationServicer(client=client, **self.given)
            stack.callback(servicer.close)
            self.declare(client, servicer)
            server = grpc.server(
                futures.ThreadPoolExecutor(8),
                interceptors=[serving.ServerInterceptor()],
                options=[("grpc.so_reuseport", 0)],
            )
            server.add_generic_rpc_handlers((_Rpcs(self, client),))
            servicer.add_to(server)
            self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            stack.callback(lambda: server.stop(None).wait())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def declare(self, client: yagrpc.Client, servicer: serving.OperationServicer) -> None:
        """Declare the handlers."""

        @servicer.handler()
        def echo(request: Any) -> Any:
            return Response(model_version=request.text)

        @servicer.handler(answer=answer)
        def model(request: Any) -> Any:
            return client.completion_async(request.text)

        @servicer.handler()
        def raw(request: Any) -> Any:
            return client.completion_async(request.text)

        @servicer.handler()
        def waits(request: Any) -> Any:
            self.ran.append(request.text)
            return Response(model_version=client.completion(request.text).text)

        @servicer.handler(restart=Request)
        def restarts(request: Any) -> Any:
            self.ran.append(request.text)
            return Response(model_version=client.completion(request.text).text)

        @servicer.handler()
        def status(request: Any) -> Any:
            return _pb.status_pb2.Status(code=9, message=request.text)

        @servicer.handler()
        def no_error(request: Any) -> Any:
            return _pb.status_pb2.Status()

        @servicer.handler()
        def fails(request: Any) -> Any:
            raise ValueError("a secret")

        @servicer.handler()
        def exits(request: Any) -> Any:
            sys.exit("a secret")

        @servicer.handler()
        def late(request: Any) -> Any:
            self.ran.append(request.text)
            self.go.wait()
            with serving.detached():
                return client.completion_async(request.text)

        @servicer.handler()
        def text(request: Any) -> Any:
            return request.text

        declared = (late, echo, model, raw, waits, restarts, status, no_error, fails, exits, text)
        self.handlers = {each._kind.name: each for each in declared}


class AsyncHost(Host):
    """A `grpc.aio.server`."""

    async def __aenter__(self) -> AsyncHost:
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(yagrpc.AsyncClient(**settings(self.model)))
            servicer = self.servicer = serving.AsyncOperationServicer(client=client, **self.given)
            stack.push_async_callback(servicer.close)
            self.declare(client, servicer)
            server = grpc.aio.server(
                interceptors=[serving.AsyncServerInterceptor()], options=[("grpc.so_reuseport", 0)]
            )
            server.add_generic_rpc_handlers((_AsyncRpcs(self, client),))
            await servicer.add_to(server)
            self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, None)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def declare(self, client: yagrpc.AsyncClient, servicer: serving.AsyncOperationServicer) -> None:
        """Declare the handlers."""

        @servicer.handler()
        async def echo(request: Any) -> Any:
            return Response(model_version=request.text)

        @servicer.handler(answer=answer)
        async def model(request: Any) -> Any:
            return await client.completion_async(request.text)

        @servicer.handler()
        async def raw(request: Any) -> Any:
            return await client.completion_async(request.text)

        @servicer.handler()
        async def waits(request: Any) -> Any:
            self.ran.append(request.text)
            return Response(model_version=(await client.completion(request.text)).text)

        @servicer.handler(restart=Request)
        async def restarts(request: Any) -> Any:
            self.ran.append(request.text)
            return Response(model_version=(await client.completion(request.text)).text)

        @servicer.handler()
        async def status(request: Any) -> Any:
            return _pb.status_pb2.Status(code=9, message=request.text)

        @servicer.handler()
        async def no_error(request: Any) -> Any:
            return _pb.status_pb2.Status()

        @servicer.handler()
        async def fails(request: Any) -> Any:
            raise ValueError("a secret")

        @servicer.handler()
        async def cancels(request: Any) -> Any:
            raise asyncio.CancelledError

        @servicer.handler()
        async def text(request: Any) -> Any:
            return request.text

        declared = (echo, model, raw, waits, restarts, status, no_error, fails, cancels, text)
        self.handlers = {each._kind.name: each for each in declared}


class _Rpcs(grpc.GenericRpcHandler):
    """`/host/<handler>`: submits the request to the handler; `/host/attach` attaches an operation that it submits."""

    def __init__(self, host: Any, client: Any) -> None:
        self._host = host
        self._client = client

    def service(self, handler_call_details: Any) -> Any:
        _, service, name = handler_call_details.method.split("/")
        if service != "host":
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._behavior(name), Request.FromString, lambda operation: operation.SerializeToString()
        )

    def _behavior(self, name: str) -> Any:
        def serve(request: Any, context: Any) -> Any:
            if name == "attach":
                return self._host.servicer.attach(self._client.completion_async(request.text), description="attached")
            if name == "attach_model":
                return self._host.handlers["model"].attach(self._client.completion_async(request.text))
            return self._host.handlers[name].submit(request, description=name, metadata=request)

        return serve


class _AsyncRpcs(_Rpcs):
    def _behavior(self, name: str) -> Any:
        async def serve(request: Any, context: Any) -> Any:
            if name == "attach":
                operation = await self._client.completion_async(request.text)
                return await self._host.servicer.attach(operation, description="attached")
            if name == "attach_model":
                operation = await self._client.completion_async(request.text)
                return await self._host.handlers["model"].attach(operation)
            return await self._host.handlers[name].submit(request, description=name, metadata=request)

        return serve


def main() -> None:
    kind, store, model = sys.argv[1:]
    if kind == "sync":
        with BlockingHost(store, model) as host:
            print(host.address, flush=True)
            sys.stdin.read()
        return

    async def serve() -> None:
        async with AsyncHost(store, model) as host:
            print(host.address, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
