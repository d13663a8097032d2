"""One trace through real processes: caller, proofreading server, yagrpc, emulator; each writes its spans to a file."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.examples.conftest import EXAMPLES
from yagrpc.emulator import paths

EMULATOR = """
import sys
import grpc.aio
from opentelemetry import propagate, trace
from tracing import export
from yagrpc.emulator import EmulatorOptions, run

class Spans(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        context = propagate.extract({key: value for key, value in details.invocation_metadata})
        trace.get_tracer("emulator").start_span(details.method, context).end()
        return await continuation(details)

server = grpc.aio.server
grpc.aio.server = lambda *given, **named: server(*given, interceptors=[Spans()], **named)
export("emulator", sys.argv[1])
options = EmulatorOptions(duration=float(sys.argv[2]), seed=1)
run(options, on_ready=lambda server: print(server.address, flush=True))
"""
"""OpenTelemetry's instrumentation of servers takes generators as handlers of streams, and the emulator's write."""

SOON = 60.0


@contextmanager
def process(command: list[str], cwd: Path, **environment: str) -> Iterator[str]:
    """A program that runs meanwhile; gives the first line that it prints."""
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.PIPE, encoding="utf-8"
    ) as started:
        assert started.stdout is not None
        try:
            address = started.stdout.readline().strip()
            assert address, "it ended before it was ready"
            yield address
        finally:
            started.terminate()
            started.communicate(timeout=SOON)


def spans_of(*files: Path) -> list[dict[str, Any]]:
    """The spans that some processes have written."""
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def test_one_trace_id_throughout_and_each_caller_has_its_own(programs: Any, tmp_path: Path) -> None:
    callers = 4
    environment = {
        **programs.environment,
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES / "proofreading"), programs.environment["PYTHONPATH"]]),
    }
    at = {name: tmp_path / f"{name}.jsonl" for name in ("emulator", "server", *map(str, range(callers)))}
    emulating = [sys.executable, "-W", "error", "-c", EMULATOR, str(at["emulator"]), "0.5"]
    with process(emulating, tmp_path, **environment) as emulator:
        serving = programs.command("proofreading/server_aio.py", "--trace", str(at["server"]))
        with process(serving, tmp_path, **environment, YAGRPC_EMULATOR_HOST=emulator) as server:
            calling = [
                subprocess.Popen(
                    programs.command("proofreading/caller.py", server, "малоко", "--trace", str(at[str(number)])),
                    cwd=tmp_path,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    encoding="utf-8",
                )
                for number in range(callers)
            ]
            for each in calling:
                output, errors = each.communicate(timeout=SOON)
                assert (each.returncode, errors) == (0, ""), errors
                assert output.startswith("Correct: ")
    printed = programs.run("proofreading/tracing.py", *map(str, at.values()), cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    print(printed.stdout)  # the tree of spans, shown by pytest -s and by a failure

    spans = spans_of(*at.values())
    by_id = {int(span["context"]["span_id"], 16): span for span in spans}
    roots = [span for span in spans if span["parent_id"] is None]
    assert {span["resource"]["attributes"]["service.name"] for span in roots} == {"caller"}
    assert len(roots) == 2 * callers  # each calls both methods
    assert len({span["context"]["trace_id"] for span in spans}) == 2 * callers

    gets = [span for span in spans_of(at["emulator"]) if span["name"] == paths.OPERATION_GET]
    assert len({span["context"]["trace_id"] for span in gets}) == callers
    for get in gets:  # the emulator's, in the client's, in the wait, in the server's, in the caller's
        above, line = get, []
        while above["parent_id"] is not None:
            above = by_id[int(above["parent_id"], 16)]
            line.append((above["resource"]["attributes"]["service.name"], above["name"]))
        assert [name for name, _ in line] == ["server", "server", "server", "caller"]
        assert [name for _, name in line][:2] == ["yandex.cloud.operation.OperationService/Get", "wait for operations"]
    waits = [span for span in spans if span["name"] == "wait for operations"]
    submits = {int(span["context"]["span_id"], 16) for span in spans if span["attributes"].get("yagrpc.deferred")}
    assert {int(link["context"]["span_id"], 16) for span in waits for link in span["links"]} == submits
    assert len(waits) == len(submits) == callers
    assert "малоко" not in "".join(map(str, spans))
    assert printed.stdout.count("trace ") == 2 * callers
    assert re.search(r"(?m)^  caller: .*\n    server: .*\n      server: chat yandexgpt ", printed.stdout)
    assert {stat.S_IMODE(path.stat().st_mode) for path in at.values()} == {0o600}
