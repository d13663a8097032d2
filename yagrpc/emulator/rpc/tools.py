"""Server reflection and health checking, for tools like grpcurl and for programs that wait until a server is ready.

Both are on if the extra `emulator` is installed. Rules: reflection describes our services from our own pool; the files
of reflection and health are added to that pool, so that they are described too.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.rpc.unpacking import UnpackingServer

__all__ = ["SERVED", "add_tools"]

SERVED: Final = tuple(
    sorted(
        {
            path.split("/")[1]
            for name in paths.__all__
            for path in [getattr(paths, name)]
            if isinstance(path, str) and path != paths.CLOUD
        }
    )
)
"""Full names of the emulated services."""


async def add_tools(server: grpc.aio.Server, *, control: bool) -> None:
    """Register what is installed. Health reports every service as serving: clients can ask only when that is true.

    Args:
        server: The server.
        control: Whether the control service is served too.
    """
    served = (*SERVED, "yagrpc.emulator.v1.ControlService") if control else SERVED
    names = [*served]
    # Imported by name, since type checkers need packages of their own for them.
    if importlib.util.find_spec("grpc_health") is not None:
        health: Any = importlib.import_module("grpc_health.v1.health")
        messages: Any = importlib.import_module("grpc_health.v1.health_pb2")
        stubs: Any = importlib.import_module("grpc_health.v1.health_pb2_grpc")
        servicer = health.aio.HealthServicer()
        for name in ("", *served):
            await servicer.set(name, messages.HealthCheckResponse.SERVING)
        stubs.add_HealthServicer_to_server(servicer, UnpackingServer(server))
        names.append(health.SERVICE_NAME)
        _describe(messages)
    if importlib.util.find_spec("grpc_reflection") is not None:
        reflection: Any = importlib.import_module("grpc_reflection.v1alpha.reflection")
        names.append(reflection.SERVICE_NAME)
        _describe(importlib.import_module("grpc_reflection.v1alpha.reflection_pb2"))
        _pb.load_messages()
        reflection.enable_server_reflection(names, server, _pb.POOL)


def _describe(module: Any) -> None:
    """Add the file of a package, which is in the default pool, to our pool too."""
    _pb.POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
