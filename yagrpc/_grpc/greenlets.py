"""Processes whose threads are greenlets of gevent's: gRPC works there only after a switch of its own.

Rules: gevent is never imported here; where it is not loaded, nothing is checked.
"""

from __future__ import annotations

import sys

from yagrpc.errors import ConfigError


def check_greenlets(*, asynchronous: bool) -> None:
    """Refuse what would stall until its timeout, and may be billed (measured with gevent 26.9 and grpcio 1.85).

    Args:
        asynchronous: Whether gRPC's asyncio API is to be used, which never works beside patched threads.

    Raises:
        ConfigError: Threads are patched by gevent, and gRPC does not know of that.
    """
    patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    if patched is None or not patched("threading"):
        return
    if asynchronous:
        raise ConfigError(
            "gevent has patched threads (monkey.patch_all()), and AsyncClient can't work there: use Client"
        )
    if getattr(sys.modules.get("grpc._cython.cygrpc"), "g_gevent_activated", None) is False:
        raise ConfigError(
            "gevent has patched threads (monkey.patch_all()), and gRPC does not know: call"
            " grpc.experimental.gevent.init_gevent() after it, before a client is created"
        )
