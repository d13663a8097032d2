"""What gRPC takes from the environment, past every argument of a client: its proxy, and its trace.

gRPC's other variables break no promise of a client: roots (`GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` and its kin) count only
where `root_certificates` is not given, and cipher suites, resolvers and poll strategies change how, not where or what.

Rules: the variables are read as gRPC reads them, and when it does; a proxy is named without its user and password.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import Final

from yagrpc.config import ENVIRONMENT
from yagrpc.hiding import Environment

log = logging.getLogger("yagrpc.credentials")

_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""The variables that name a proxy; the first that is set counts, even if it is empty (gRPC's http_proxy_mapper)."""

_EXCEPT: Final = ("no_grpc_proxy", "no_proxy")
"""The variables that list hosts without a proxy; the first that is set counts."""

_URL: Final = r"(?i)http://([^@/?#]*@)?(?P<address>[^@/?#]+)([/?#].*)?"
"""A proxy's URL as gRPC takes it: another scheme means no proxy."""

TRACE_SHOWS_SECRETS: Final = (
    "GRPC_TRACE is set: gRPC's trace shows the metadata of calls, credentials included: unset it, or keep its output "
    "to yourself"
)


def proxy_of(endpoint: str, option: str | None = None, environment: Environment = ENVIRONMENT) -> str:
    """The proxy through which gRPC connects a channel with TLS, and what names it; empty where there is none.

    Args:
        endpoint: Where the channel goes, `host:port`.
        option: The value of the channel's option `grpc.http_proxy`; `None` where it has none.
        environment: The environment variables.
    """
    source, url = "grpc.http_proxy", option
    if url is None:
        source, url = _first(_PROXIES, environment)
    found = re.fullmatch(_URL, url)
    if found is None or _excepted(endpoint.rpartition(":")[0].strip("[]"), _first(_EXCEPT, environment)[1]):
        return ""
    return f"{found['address']} ({source})"


def warn_of_trace(environment: Environment = ENVIRONMENT) -> None:
    """Log a warning, once in a process, where gRPC traces what it sends."""
    if environment.get("GRPC_TRACE"):
        _warn()


@functools.cache
def _warn() -> None:
    log.warning(TRACE_SHOWS_SECRETS)


def _first(names: tuple[str, ...], environment: Environment) -> tuple[str, str]:
    """The first of several variables that is set, and its value."""
    return next(((name, environment[name]) for name in names if name in environment), ("", ""))


def _excepted(host: str, listed: str) -> bool:
    """Whether a list of hosts, domains and networks has a host."""
    # Older gRPC takes any end of a host's name, also within a part of it: then an error names a proxy too much.
    entries = [entry.strip().lower().removeprefix(".") for entry in listed.split(",")]
    return any(entry and (f".{host.lower()}".endswith(f".{entry}") or _in_network(host, entry)) for entry in entries)


def _in_network(host: str, entry: str) -> bool:
    if "/" not in entry:
        return False
    import ipaddress  # it is slow to import

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
