"""Traces of the proofreader: each process writes its spans to a file, and this program prints the tree of all of them.

    python examples/proofreading/server_aio.py --trace server.jsonl
    python examples/proofreading/caller.py 127.0.0.1:50051 "Малоко" --trace caller.jsonl
    python examples/proofreading/tracing.py server.jsonl caller.jsonl

It needs OpenTelemetry's SDK and its instrumentation of gRPC: `pip install opentelemetry-sdk
opentelemetry-instrumentation-grpc`. A service has an exporter to its collector in place of the file.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorServer, GrpcInstrumentorClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from yagrpc.integrations import otel


class FileExporter(SpanExporter):
    """Appends each span that has ended to a file, as one line of JSON.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write some spans."""
        for span in spans:
            os.write(self._file, f"{span.to_json(indent=None)}\n".encode())
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        os.close(self._file)


def export(service: str, path: str) -> None:
    """Write the spans of this process to a file.

    Args:
        service: The name of the process in the tree.
        path: The file.
    """
    provider = TracerProvider(resource=Resource({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(FileExporter(path)))
    trace.set_tracer_provider(provider)


def set_up(path: str) -> otel.Telemetry:
    """Write the spans of the proofreader to a file, those of its server included; gives what its client needs."""
    export("server", path)
    GrpcAioInstrumentorServer().instrument()  # before the server is created
    return otel.Telemetry()


def set_up_caller(path: str) -> None:
    """Write the spans of a process that has no client of yagrpc: those of its calls."""
    export("caller", path)
    GrpcInstrumentorClient().instrument()


def read(paths: Sequence[str]) -> list[dict[str, Any]]:
    """The spans in some files, in the order in which they started."""
    lines = [line for path in paths for line in Path(path).read_text("utf-8").splitlines()]
    return sorted(map(json.loads, lines), key=lambda span: span["start_time"])


def tree(spans: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the tree: each span below the one that it is part of, with its process."""
    known = {number(span["context"]["span_id"]) for span in spans}

    def below(trace_id: str, parent: int, depth: int) -> Iterator[str]:
        for span in spans:
            above = number(span["parent_id"])
            if span["context"]["trace_id"] == trace_id and (above if above in known else 0) == parent:
                process = span["resource"]["attributes"]["service.name"]
                linked = "".join(f", linked to {link['context']['span_id']}" for link in span["links"])
                yield f"{'  ' * depth}{process}: {span['name']} [{span['context']['span_id']}{linked}]"
                yield from below(trace_id, number(span["context"]["span_id"]), depth + 1)

    for trace_id in dict.fromkeys(span["context"]["trace_id"] for span in spans):
        yield f"trace {trace_id}"
        yield from below(trace_id, 0, 1)


def number(identifier: str | None) -> int:
    """The id of a span as a number; 0 for none."""
    return int(identifier or "0", 16)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the spans of several processes as a tree.")
    parser.add_argument("files", nargs="+", help="what the processes have written")
    print("\n".join(tree(read(parser.parse_args().files))))


if __name__ == "__main__":
    main()
