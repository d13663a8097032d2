"""`make bench`: the time of imports, in fresh processes.

The baseline is bare stubs: grpc and the two generated stub modules that a deferred completion needs. Each official
package is measured in an environment of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import official
from table import by_turns, show

_STUBS = """
import grpc
from yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc
from yagrpc_proto.yandex.cloud.operation import operation_service_pb2_grpc
"""
_OURS = """
import yagrpc
yagrpc.Client, yagrpc.AsyncClient, yagrpc.methods.TextGenerationAsyncService.Completion
"""
_USED = """
import yagrpc
from yagrpc._services.text import completion_request
client = yagrpc.Client(folder_id="f", credentials=yagrpc.NoCredentials(), endpoint="127.0.0.1:1", plaintext=True)
completion_request("completion_async", "hello", {}, client._core)
yagrpc.Operation, yagrpc.Stream, yagrpc.Completion
"""
_YANDEXCLOUD = """
import yandexcloud
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc
from yandex.cloud.operation import operation_service_pb2_grpc
"""
_SERVICE = "cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc"
_OFFICIAL_SERVICE = f"from yandex.{_SERVICE}"
_OUR_SERVICE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "generated")!r})
from yagrpc_proto.yandex.{_SERVICE}
"""
_STUDIO = "from yandex_ai_studio_sdk import AIStudio"

_TIMED = """
import time
start = time.perf_counter()
exec({body!r})
print(time.perf_counter() - start)
"""


def _import(python: str, body: str) -> float:
    # -I: measure the installed package, not the current folder.
    command = [python, "-I", "-c", _TIMED.format(body=body)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) * 1000


def main() -> int:
    """Measure and print; the exit code says whether the targets are met, except in a quick run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, without the official packages")
    quick = parser.parse_args().quick
    contestants = {
        "grpc and the two stub modules": lambda: _import(sys.executable, _STUBS),
        "yagrpc, both clients and the method": lambda: _import(sys.executable, _OURS),
        "yagrpc, all that a first deferred completion needs": lambda: _import(sys.executable, _USED),
    }
    if not quick:
        cloud, studio = official.python(official.CLOUD), official.python(official.STUDIO)
        contestants["yandexcloud and its two stub modules"] = lambda: _import(cloud, _YANDEXCLOUD)
        contestants["yandex-ai-studio-sdk"] = lambda: _import(studio, _STUDIO)
    by_turns(contestants, 2)  # caches of the file system and of bytecode
    measured = by_turns(contestants, 5 if quick else 25)
    targets = {"yagrpc, both clients and the method": 1.10}
    fine = show("Import, in fresh processes", "ms", measured, targets)
    if not quick:
        # Both in the official package's environment: the same versions of grpc and protobuf.
        stubs = {
            "official stubs and messages of one service": lambda: _import(cloud, _OFFICIAL_SERVICE),
            "ours": lambda: _import(cloud, _OUR_SERVICE),
        }
        by_turns(stubs, 2)
        show("Import of one service, in fresh processes", "ms", by_turns(stubs, 25), {})
    return 0 if fine or quick else 1


if __name__ == "__main__":
    sys.exit(main())
