"""docs/quotas.md is true: its code runs, and its settings exist."""

from __future__ import annotations

import http.server
import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import yagrpc
from yagrpc.limiter.limits import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "quotas.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def api() -> Iterator[tuple[str, list[int]]]:
    """An HTTP server, and how many slots were in use while it was asked."""
    used: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            used.extend(row.slots for row in yagrpc.quota_use("f") if row.quota == "concurrent_completions")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", used
        server.shutdown()
        thread.join()


def test_the_wrapper_of_httpx_takes_a_slot(
    api: tuple[str, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (block,) = [block for block in BLOCKS if "class Limited" in block]
    names: dict[str, Any] = {}
    exec(compile(block, "quotas.md", "exec", dont_inherit=True), names)
    address, used = api
    with yagrpc.Limits("f") as limits, names["limited_client"](limits) as client:
        for path in ("completions", "embeddings"):
            assert client.get(f"{address}/v1/{path}").text == "{}"
        slots = {row.quota: row.slots for row in limits.participants() if row.slots}
    assert used == [1, 0]
    assert slots == {"embeddings_per_second": 1}


def test_the_settings_of_the_page_exist(tmp_path: Path) -> None:
    for client in (yagrpc.Client, yagrpc.AsyncClient, yagrpc.Limits):
        assert {"share", "on_limiter_failure"} <= inspect.signature(client).parameters.keys()
    with yagrpc.Limits("f", share=tmp_path / "l") as limits:
        for kind in KINDS:
            assert f"`{kind}`" in PAGE
            limits.acquire(kind)  # type: ignore[arg-type]


def test_the_message_of_the_page_is_the_real_one() -> None:
    error = yagrpc.QuotaWaitError("submit_per_hour", 1234.0, timeout=60.0)
    (quoted,) = re.findall(r"`(no slot under [^`]*)`", PAGE.replace("\n  ", " "))
    assert re.sub(r"in \S+ s;", "in ... s;", quoted) == re.sub(r"in \S+ s;", "in ... s;", str(error))
