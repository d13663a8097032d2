"""A pytest plugin: the emulator and clients of it as fixtures, configured by a marker.

    @pytest.mark.yagrpc(replies={"ping": "pong"})
    def test_it(yagrpc_client):
        assert yagrpc_client.completion("ping").text == "pong"

`--yagrpc-forbid-service` and the setting `yagrpc_forbid_service` say where clients may not call the real service:
`everywhere` in the run, in tests that use a fixture of the plugin (`fixtures`, the default), or `nowhere`.

Fixtures: `yagrpc_emulator`, `yagrpc_rest_address`, `yagrpc_client`, and, with pytest-asyncio, `yagrpc_async_client`.
Each test has an emulator of its own on a free port, so that tests may run in parallel.

Rules: pytest loads this module in every run if yagrpc is installed, used or not. So it imports nothing slow: yagrpc and
gRPC are imported with the first fixture that a test requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from yagrpc import AsyncClient, Client, Credentials
    from yagrpc.emulator import Emulator

__all__ = ["yagrpc_client", "yagrpc_emulator", "yagrpc_rest_address"]

_FOLDER = "b1gemulator"

_MARKER = (
    "yagrpc(replies=..., faults=..., quota=..., **options): options of the test's emulator, as "
    "yagrpc.emulator.Emulator takes them; the marker nearest to the test wins"
)


_FORBIDDEN = ("everywhere", "fixtures", "nowhere")
"""Where clients may not call the real service."""

_VARIABLE = "YAGRPC_FORBID_SERVICE"
"""What forbids it: in this process and in those that it starts."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the setting of the same meaning."""
    text = (
        "where clients of yagrpc may not call Yandex Cloud, whatever credentials are exported: everywhere in the run, "
        "in tests that use a fixture of yagrpc's plugin (fixtures, the default), or nowhere"
    )
    group = parser.getgroup("yagrpc")
    group.addoption("--yagrpc-forbid-service", choices=_FORBIDDEN, default=None, help=text)
    parser.addini("yagrpc_forbid_service", text, default="fixtures")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the asyncio fixture, which pytest-asyncio has to run; forbid the service if wanted."""
    config.addinivalue_line("markers", _MARKER)
    if _forbidden(config) == "everywhere":
        patch = pytest.MonkeyPatch()
        patch.setenv(_VARIABLE, "1")
        config.add_cleanup(patch.undo)
    config.pluginmanager.register(_asyncio_plugin(config.pluginmanager.hasplugin("asyncio")))


@pytest.fixture
def yagrpc_emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator that runs as long as the test. Its operations are done at once, unless the marker says otherwise.

    Clients that the code under test creates itself use it too (`YAGRPC_EMULATOR_HOST`), unless it listens with TLS.
    They can't call the real service, whatever credentials are exported: `--yagrpc-forbid-service` changes that.
    """
    from yagrpc.emulator import Emulator

    if _forbidden(request.config) != "nowhere":
        monkeypatch.setenv(_VARIABLE, "1")
    with Emulator(**_options(request)) as emulator:
        if emulator.ca_file is None:
            monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
        yield emulator


@pytest.fixture
def yagrpc_rest_address(yagrpc_emulator: Emulator) -> str:
    """Where the test's emulator serves REST, such as `127.0.0.1:40124`. Needs the extra `rest`."""
    return yagrpc_emulator.rest_address


@pytest.fixture
def yagrpc_client(request: pytest.FixtureRequest, yagrpc_emulator: Emulator) -> Iterator[Client]:
    """A blocking client of the emulator, with a credential that it accepts, and without quotas of its own."""
    from yagrpc import Client

    with Client(**_settings(request, yagrpc_emulator)) as client:
        yield client


async def _yagrpc_async_client(request: pytest.FixtureRequest, yagrpc_emulator: Emulator) -> AsyncIterator[AsyncClient]:
    """An asyncio client of the emulator, with a credential that it accepts, and without quotas of its own."""
    from yagrpc import AsyncClient

    async with AsyncClient(**_settings(request, yagrpc_emulator)) as client:
        yield client


def _forbidden(config: pytest.Config) -> str:
    """Where clients may not call the real service: the option, or else the setting."""
    found: str = config.getoption("yagrpc_forbid_service") or config.getini("yagrpc_forbid_service")
    if found not in _FORBIDDEN:
        raise pytest.UsageError(f"yagrpc_forbid_service is {found!r}: it takes {', '.join(_FORBIDDEN)}")
    return found


def _no_async_client() -> None:
    """The asyncio fixture if pytest-asyncio is missing: an error that says so."""
    raise pytest.UsageError("yagrpc_async_client needs pytest-asyncio: pip install pytest-asyncio")


def _asyncio_plugin(runnable: bool) -> ModuleType:
    """A plugin with the asyncio fixture, as a fixture of pytest-asyncio, which works in its strict mode too."""
    plugin, name = ModuleType("yagrpc-asyncio"), "yagrpc_async_client"
    if runnable:
        import pytest_asyncio

        vars(plugin)[name] = pytest_asyncio.fixture(_yagrpc_async_client, name=name)
    else:
        vars(plugin)[name] = pytest.fixture(_no_async_client, name=name)
    return plugin


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of all markers; the marker nearest to the test wins."""
    import inspect

    from yagrpc.emulator import Emulator

    known = inspect.signature(Emulator).parameters
    options: dict[str, Any] = {"duration": 0, "rest": "yagrpc_rest_address" in request.fixturenames}
    for marker in reversed(list(request.node.iter_markers("yagrpc"))):
        if marker.args:
            raise pytest.UsageError(
                f"@pytest.mark.yagrpc takes options by name, such as replies=..., not {marker.args!r}"
            )
        for name in marker.kwargs:
            if name not in known:
                raise pytest.UsageError(f"@pytest.mark.yagrpc has no option {name!r}: it takes {', '.join(known)}")
        options.update(marker.kwargs)
    return options


def _settings(request: pytest.FixtureRequest, emulator: Emulator) -> dict[str, Any]:
    """The arguments of a client of the emulator."""
    from pathlib import Path

    from yagrpc import Polling

    options = _options(request)
    settings: dict[str, Any] = {
        "folder_id": options.get("folder") or _FOLDER,
        "credentials": _credentials(options.get("auth", "off")),
        "endpoint": emulator.address,
        "operation_endpoint": emulator.address,
        "quota": None,
        "polling": Polling(first=0.01, shortest=0.01, longest=0.1),
    }
    if emulator.ca_file is None:
        return {**settings, "plaintext": True}
    return {**settings, "root_certificates": Path(emulator.ca_file).read_bytes()}


def _credentials(auth: Any) -> Credentials:
    """A credential that an emulator with that `auth` accepts."""
    from yagrpc import ApiKey, IamToken

    authorization = "Api-Key emulator" if isinstance(auth, str) or not auth else sorted(auth)[0]
    scheme, _, secret = authorization.partition(" ")
    return ApiKey(secret) if scheme == "Api-Key" else IamToken(secret)
