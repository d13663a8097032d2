"""Where services are served: known, given, or found by endpoint discovery.

Rules: pure. The model and operation services never need discovery; what it gave is kept for the client's life. With a
plaintext endpoint everything is served there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from yagrpc import config
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown

if TYPE_CHECKING:
    from yagrpc.config import Endpoints

ENDPOINTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (f"yandex.cloud.ai.{name}" for name in ("batch_inference", "dataset", "foundation_models", "tuning")), "model"
    ),
    "yandex.cloud.operation": "operation",
    "yandex.cloud.iam": "iam",
    "yandex.cloud.endpoint": "discovery",
}
"""Which endpoint, of `config.Endpoints`, serves the packages that every client knows, by the beginning of a service's
full name (the model endpoint: the first by its documentation, all four by the official SDK's map)."""

_VERSION: Final = re.compile(r"v\d+\w*")


def served_by(service: str) -> str:
    """Which endpoint of every client serves a service; empty where its address has to be found."""
    return next((endpoint for name, endpoint in ENDPOINTS.items() if service.startswith(f"{name}.")), "")


class Directory:
    """The endpoints of one client.

    Args:
        endpoints: Those of the services that every client knows.
        given: The caller's own: `host:port` by a service's full name or the beginning of it, such as
            `yandex.cloud.compute`; the longest that fits is taken.

    Raises:
        ConfigError: A given one is not `host:port`.
    """

    def __init__(self, endpoints: Endpoints, given: Mapping[str, str]) -> None:
        for name, address in given.items():
            config.check_given_endpoint(f"endpoints[{shown(name)}]", address, plaintext=endpoints.plaintext)
        self._plaintext = endpoints.plaintext
        self._known: dict[str, str] = {
            **{name: getattr(endpoints, endpoint) for name, endpoint in ENDPOINTS.items()},
            **given,
        }
        self._fallback = endpoints.model
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
        return self._plaintext or self._address(service) is not None

    def address(self, service: str) -> str:
        """Where a service is, as `host:port`.

        Args:
            service: Its full name.

        Raises:
            ConfigError: Nobody said.
        """
        address = self._address(service)
        if address is not None:
            return address
        if self._plaintext:
            return self._fallback
        tried = ", ".join(discovery_ids(service))
        remedy = f"give endpoints={{'{service}': 'host:443'}}"
        raise ConfigError(f"no endpoint is known for {service}: discovery has none of {tried}; {remedy}")

    def _address(self, service: str) -> str | None:
        if service not in self._resolved and (address := self._find(service)) is not None:
            self._resolved[service] = address
        return self._resolved.get(service)

    def _find(self, service: str) -> str | None:
        fitting = [name for name in self._known if f"{service}.".startswith(f"{name}.")]
        if fitting:
            return self._known[max(fitting, key=len)]
        return next((self._found[name] for name in discovery_ids(service) if name in self._found), None)


def discovery_ids(service: str) -> list[str]:
    """Ids under which discovery may list a service, the likeliest first.

    An id is the package without its beginning and its version: `yandex.cloud.ai.stt.v3.Recognizer` is searched as
    `ai-stt`, `ai` and `stt`.
    """
    parts = [part.replace("_", "-") for part in service.removeprefix("yandex.cloud.").split(".")[:-1]]
    parts = [part for part in parts if not _VERSION.fullmatch(part)]
    joined = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return list(dict.fromkeys([*joined, *parts[1:]]))
