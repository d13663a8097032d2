"""Whether a browser sends a request for a page that is not ours.

A page of any origin can let a browser send requests to loopback, and can let a name of its own resolve to it
(DNS rebinding). So a request has to name this machine as its host, and an `Origin`, which browsers add, has to be our
own. An image or a link of such a page has no `Origin`, and could cancel an operation, which is a GET: for it, browsers
say in `Sec-Fetch-Site` whose page it is. No CORS header is ever sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from yagrpc.emulator.options import is_loopback

__all__ = ["foreign"]


def foreign(scope: Mapping[str, Any], listening: str) -> str | None:
    """Why a request is refused; `None` if it is not.

    Args:
        scope: The ASGI scope of the request.
        listening: The host that the emulator listens on. Where others can reach it, any `Host` will do.
    """
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return "the request has several Host headers"
    # HTTP/1.0 needs none, and no browser sends a request without it.
    host = hosts[0] if hosts else ""
    if host and is_loopback(listening) and not is_loopback(_name(host)):
        return f"the request is for the host {host[:100]!r}: this emulator is for clients of this machine only"
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    if any(origin != f"{scope['scheme']}://{host}" for origin in origins) or _from_elsewhere(scope):
        return "the request comes from a page of another origin"
    return None


def _from_elsewhere(scope: Mapping[str, Any]) -> bool:
    """Whether a browser says that a page of another origin caused the request; a link may lead to our own page."""
    said = dict(scope["headers"])
    if said.get(b"sec-fetch-site") not in (b"cross-site", b"same-site"):
        return False
    return scope["raw_path"] != b"/" or said.get(b"sec-fetch-dest") != b"document"


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
