"""How the tree holds together: imports point one way, public names are pinned, modules stay small."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import yagrpc
from yagrpc import _pb, methods

PACKAGE = Path(yagrpc.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

EXPORTS = """
__version__ emulator methods
Client AsyncClient Operation AsyncOperation Stream AsyncStream OperationStatus as_completed gather wait
CallParameters CompletionParameters EmbeddingParameters ModelParameters Polling Quota Limit Limits
AccessToken ApiKey Credentials FetchedCredentials IamToken MetadataService NoCredentials OAuthToken ServiceAccountKey
YcCli
Message ToolCall ToolResult convert
Alternative Chunk Completion CompletionStatus Embeddings RequestIds Token Tokens Usage
BidiStreamMethod ClientStreamMethod HttpRule OperationMethod StreamMethod UnaryMethod
AbortedError AlreadyExistsError AmbiguousSubmitError CallCancelledError CallError ClientClosedError Code ConfigError
DataLossError DeadlineExceededError FailedPreconditionError InternalError InvalidArgumentError
MessageTooLargeError NotFoundError
OperationCancelledError OperationError OperationExpiredError OperationFailedError OperationNotFoundError
OperationResultError OperationTimeoutError OutOfRangeError PermissionDeniedError QuotaWaitError RequestError
ResourceExhaustedError
ResultError SubmitTimeoutError UnauthenticatedError UnavailableError UnimplementedError UnknownError YagrpcError
"""

LAYERS = [
    {"_version", "method", "ids"},
    {"errors"},
    {"_pb"},
    {"config", "methods"},
    {"credentials", "messages"},
    {"results"},
    {"_core", "_grpc"},
    {"_services"},
    {"_sync", "_aio"},
    {"waiting"},
    {"cli"},
]
"""From the bottom up: a module imports of its own layer's part, and of layers below, only."""


def part_of(path: Path) -> str:
    """The top-level part of the package that a module belongs to: `_core`, `errors`, ..."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """What a module imports when it runs, functions included; what only the type checker reads is left out."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "yagrpc":
                yield from (f"yagrpc.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def own_imports(path: Path) -> set[str]:
    """The parts of the package that a module imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("yagrpc.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    part, used = part_of(path), own_imports(path)
    assert not any(name.split(".")[0] == "yagrpc_proto" for name in imports(path))
    if part == "emulator":
        assert used <= {"_pb", "emulator"}
    elif part == "codegen":
        assert used <= {"codegen"}
    elif part in ("__init__", "__main__"):
        assert used <= {"_version", "cli"}
    elif part == "pytest_plugin":
        assert used <= {"emulator", "Client", "AsyncClient", "Polling", "ApiKey", "IamToken"}
    else:
        level = next(level for level, parts in enumerate(LAYERS) if part in parts)
        below = set().union(*LAYERS[:level])
        # The command runs the emulator and the generator, which know nothing of it.
        runs = {"emulator", "codegen"} if part == "cli" else set()
        public = {"Client", "AsyncClient", "Operation", "Completion", "Chunk", "Message", "NoCredentials"}
        assert used <= below | LAYERS[level] | runs | (public if part == "cli" else set()), used


def test_methods_need_nothing_but_the_standard_library() -> None:
    names = {name.split(".")[0] for name in imports(PACKAGE / "method.py")}
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_say_what_they_are_for_and_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400


def test_public_names_are_pinned() -> None:
    assert sorted(yagrpc.__all__) == sorted(EXPORTS.split())
    assert dir(yagrpc) == sorted(yagrpc.__all__)
    for name in yagrpc.__all__:
        assert getattr(yagrpc, name) is getattr(yagrpc, name)
        if name != "__version__":
            assert getattr(yagrpc, name).__doc__, name
    with pytest.raises(AttributeError, match="'yagrpc' has no attribute 'Nothing'"):
        yagrpc.Nothing  # noqa: B018


def typed_names(module: str) -> set[str]:
    """The names that a module imports for the type checker."""
    tree = ast.parse((PACKAGE / module).read_text("utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    nodes = [node for block in blocks for node in block.body]
    imported = {
        alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assigned = {ast.unparse(target) for node in nodes if isinstance(node, ast.Assign) for target in node.targets}
    return {name for name in imported | assigned if not name.startswith("_")}


def test_the_type_checker_sees_the_names_that_there_are() -> None:
    assert typed_names("__init__.py") == set(yagrpc.__all__) - {"__version__"}
    assert typed_names("_pb.py") == {*_pb.MODULES, "POOL"}


def test_the_gateway_gives_every_module() -> None:
    for name, module in _pb.MODULES.items():
        assert getattr(_pb, name) is importlib.import_module(f"yagrpc_proto.{module}")
    with pytest.raises(AttributeError, match=r"'yagrpc\._pb' has no attribute 'nothing_pb2'"):
        _pb.nothing_pb2  # noqa: B018


def test_the_listing_gives_every_service() -> None:
    assert "TextGenerationAsyncService" in dir(methods)
    for name in dir(methods):
        assert getattr(methods, name).__name__ == name
    with pytest.raises(AttributeError, match="no service 'NothingService'"):
        methods.NothingService  # noqa: B018


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded in a fresh process after some code."""
    script = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_is_not_used_is_not_loaded() -> None:
    touched = "yagrpc.Client, yagrpc.AsyncClient, yagrpc.methods.TextGenerationAsyncService.Completion"
    loaded = loaded_by(f"import yagrpc; {touched}") - loaded_by("import grpc, grpc.aio")
    heavy = {"uuid", "sqlite3", "click", "rich", "dataclasses", "yagrpc.messages", "yagrpc.results", "yagrpc.emulator"}
    assert not heavy & loaded
    assert not {name for name in loaded if name.endswith("_pb2") or name.startswith("google.")}
    assert not {name for name in loaded_by("import yagrpc") if name.split(".")[0] == "grpc"}
