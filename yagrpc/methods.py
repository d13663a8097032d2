"""The service's rpcs, for `client.call`: `methods.TextGenerationAsyncService.Completion` and the like.

Each name is the table of one service, imported when it is first asked for. The names are those of the generated
listing; only the type checker reads that here, at run time it is reached through `_pb`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yagrpc import _pb

if TYPE_CHECKING:
    from yagrpc_proto.methods import *  # noqa: F403


def __getattr__(name: str) -> Any:
    table = globals()[name] = getattr(_pb.methods, name)
    return table


def __dir__() -> list[str]:
    return dir(_pb.methods)
