"""The endpoints of one client: known, given, in the table of the public cloud, or found by endpoint discovery.

Rules: pure. What the caller gives wins. Discovery is asked only for a service that the table of the public cloud does
not know, or where the caller names the discovery endpoint of another installation; what it gave is kept for the
client's life. Its answer is not trusted with credentials outside of the domain of its own endpoint. With a plaintext
endpoint, or a channel of the host's, everything is served there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from yagrpc import config
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown

if TYPE_CHECKING:
    from yagrpc._core.endpoints.public import Served
    from yagrpc.config import Endpoints

ValueT = TypeVar("ValueT")

DISCOVERY: Final = "yandex.cloud.endpoint"
"""The package of endpoint discovery."""

ENDPOINTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (f"yandex.cloud.ai.{name}" for name in ("batch_inference", "dataset", "foundation_models", "tuning")), "model"
    ),
    "yandex.cloud.operation": "operation",
    "yandex.cloud.iam": "iam",
    DISCOVERY: "discovery",
}
"""Which endpoint, of `config.Endpoints`, serves the packages that every client knows, by the beginning of a service's
full name (the model endpoint: the first by its documentation, all four by the official SDK's map)."""

_VERSION: Final = r"v\d+\w*"


def longest(table: Mapping[str, ValueT], service: str) -> tuple[str, ValueT] | None:
    """The row of a table whose name is the longest beginning of a service's full name, in whole parts; or `None`."""
    name = service
    while name:
        if name in table:
            return name, table[name]
        name = name.rpartition(".")[0]
    return None


def served_by(service: str) -> str:
    """Which endpoint of every client serves a service; empty for the services that other endpoints serve."""
    found = longest(ENDPOINTS, service)
    return "" if found is None else found[1]


class Directory:
    """The endpoints of one client.

    Args:
        endpoints: Those of the services that every client knows.
        given: The caller's own: `host:port` by a service's full name or the beginning of it, such as
            `yandex.cloud.compute`; the longest that fits is taken.
        hosted: Whether the host's own channel takes the calls of all services.

    Raises:
        ConfigError: A given one is not `host:port`.
    """

    def __init__(self, endpoints: Endpoints, given: Mapping[str, str], *, hosted: bool = False) -> None:
        for name, address in given.items():
            config.check_given_endpoint(f"endpoints[{shown(name)}]", address, plaintext=endpoints.plaintext)
        self._everything = endpoints.plaintext or hosted
        self._known: dict[str, str] = {
            **{name: getattr(endpoints, endpoint) for name, endpoint in ENDPOINTS.items()},
            **given,
        }
        self._fallback = endpoints.model
        self._public = self._known[DISCOVERY] == config.DISCOVERY_ENDPOINT
        self._found: dict[str, str] = {}
        self._resolved: dict[str, str] = {}

    @property
    def discovered(self) -> bool:
        """Whether discovery has been asked."""
        return bool(self._found)

    def learn(self, endpoints: Iterable[tuple[str, str]]) -> None:
        """Keep what discovery gave: ids and addresses. Ids that are not known yet are normal, the set grows."""
        self._found = dict(endpoints)

    def knows(self, service: str) -> bool:
        """Whether a service's address is known without endpoint discovery."""
        return self._everything or self._address(service) is not None

    def address(self, service: str) -> str:
        """Where a service is, as `host:port`.

        Args:
            service: Its full name.

        Raises:
            ConfigError: It is not known, or what discovery gave can't be believed.
        """
        address = self._address(service)
        if address is not None:
            return address
        if self._everything:
            return self._fallback
        tried = ", ".join(discovery_ids(service))
        remedy = f"give endpoints={{'{service}': 'host:443'}}"
        raise ConfigError(f"no endpoint is known for {service}: discovery has none of {tried}; {remedy}")

    def _address(self, service: str) -> str | None:
        if service not in self._resolved and (address := self._find(service)) is not None:
            self._resolved[service] = address
        return self._resolved.get(service)

    def _find(self, service: str) -> str | None:
        known = longest(self._known, service)
        if known is not None:
            return known[1]
        if self._public and (served := _public(service)) is not None:
            return served.address
        return next((self._believed(service, name) for name in discovery_ids(service) if name in self._found), None)

    def _believed(self, service: str, name: str) -> str:
        """An address that discovery gave, checked: calls go there with their credentials.

        Raises:
            ConfigError: It is not `host:port`, or not in the domain of the discovery endpoint.
        """
        source, address = self._known[DISCOVERY], self._found[name]
        domain = parent_domain(source)
        reason = f"it gives {shown(address)} for {service}"
        remedy = f"if you trust it, give endpoints={{'{service}': 'host:443'}}"
        try:
            config.check_given_endpoint(name, address, plaintext=False)
        except ConfigError:
            raise ConfigError(f"the answer of endpoint discovery at {source} is wrong: {reason}; {remedy}") from None
        host = _host(address)
        if host != domain and not host.endswith(f".{domain}"):
            outside = f"{reason}, which is outside of {domain}"
            raise ConfigError(f"endpoint discovery at {source} is not believed: {outside}; {remedy}")
        return address


def parent_domain(address: str) -> str:
    """The domain in which the services of an installation are: that of its discovery endpoint, one level up.

    Args:
        address: The discovery endpoint, `host:port`. A host without a domain of its own (`localhost`, an address of IP,
            `example.com`) stands for itself.
    """
    host = _host(address)
    above = host.partition(".")[2]
    numeric = host.startswith("[") or host.replace(".", "").isdigit()
    return above if "." in above and not numeric else host


def _host(address: str) -> str:
    return address.rpartition(":")[0].lower().removesuffix(".")


def discovery_ids(service: str) -> list[str]:
    """Ids under which discovery may list a service, the likeliest first.

    The first is the one that the table names. Of other services an id is the package without its beginning and its
    version: `yandex.cloud.quantum.dots.v3.DotService` is searched as `quantum-dots`, `quantum` and `dots`.
    """
    served = _public(service)
    parts = [part.replace("_", "-") for part in service.removeprefix("yandex.cloud.").split(".")[:-1]]
    parts = [part for part in parts if not re.fullmatch(_VERSION, part)]
    joined = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    named = [served.id] if served is not None and served.id else []
    return list(dict.fromkeys([*named, *joined, *parts]))


def _public(service: str) -> Served | None:
    """Where a service of the public cloud is served; `None` where the table does not know it."""
    from yagrpc._core.endpoints.public import SERVICES  # large, and the services of every client are not sought there

    found = longest(SERVICES, service)
    return None if found is None else found[1]
