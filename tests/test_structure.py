"""How the tree holds together: imports point one way, public names are pinned, and a reader has little to follow."""

from __future__ import annotations

import ast
import graphlib
import importlib
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

import yagrpc
from yagrpc import _pb, methods

PACKAGE = Path(yagrpc.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

EXPORTS = """
__version__ emulator methods
AsyncBulk Bulk BulkParameters BulkResult Progress RowOutcome
Client AsyncClient Operation AsyncOperation Stream AsyncStream OperationStatus as_completed gather wait
Diagnosis Finding doctor
CallParameters CompletionParameters EmbeddingParameters ModelParameters Polling Quota
Limit Limits QuotaUse Used quota_use
Action Call Events Outcome Verdict
AccessToken ApiKey Credentials FetchedCredentials IamToken MetadataService NoCredentials OAuthToken ServiceAccountKey
YcCli
Message ToolCall ToolResult convert Number Seconds WholeNumber
Alternative Chunk Completion CompletionStatus Embeddings RequestIds Token Tokens Usage
BidiStreamMethod ClientStreamMethod HttpRule OperationMethod StreamMethod UnaryMethod
AbortedError AlreadyExistsError AmbiguousSubmitError CallCancelledError CallError ClientClosedError Code ConfigError
CompletionFilteredError CompletionTruncatedError IncompleteCompletionError
DataLossError DeadlineExceededError FailedPreconditionError InternalError InvalidArgumentError
JournalError JournalInUseError LimiterError MessageTooLargeError NotFoundError
OperationCancelledError OperationError OperationExpiredError OperationFailedError OperationNotFoundError
OperationResultError OperationTimeoutError OutOfRangeError PermissionDeniedError QuotaWaitError RequestError
ResourceExhaustedError
ResultError ServerBusyError SubmitTimeoutError UnauthenticatedError UnavailableError UnimplementedError UnknownError
YagrpcError
"""

LAYERS = [
    "_version.py",
    "files.py",
    "method.py",
    "pickling.py",
    "ids.py",
    "quantities.py",
    "quotas.py",
    "foreign.py",
    "hiding.py",
    "_pb.py",
    "methods.py",
    "redaction.py",
    "pasted.py",
    "errors/",
    "named.py",
    "config.py",
    "credentials/",
    "messages.py",
    "prices.py",
    "results.py",
    "context.py",
    "_core/__init__.py",
    "_core/deadline.py",
    "_core/runtime.py",
    "_core/endpoints/",
    "_core/call/",
    "_core/failure/",
    "_core/flow.py",
    "_core/events.py",
    "_core/auth/",
    "_core/quota/",
    "_core/polling/",
    "_core/reporting/",
    "_core/ports.py",
    "_core/send.py",
    "_core/operation/",
    "_core/client.py",
    "signatures.py",
    "_services/",
    "_grpc/",
    "sqlitefile.py",
    "limiter/",
    "_aio/",
    "_sync/",
    "waiting.py",
    "journal/",
    "bulk/",
    "clients.py",
    "serving/",
    "diagnosis.py",
    "codegen/",
    "rest/",
    "emulator/",
    "__init__.py",
    "integrations/",
    "cli/",
    "pytest_plugin.py",
    "__main__.py",
]
"""The package from the ground up: a file imports what stands in its own entry or above it in this list, wherever the
import stands in the file: in a function and under `TYPE_CHECKING` too."""

APART: dict[str, set[str]] = {
    "codegen/": {"files.py"},
    "rest/": {"_pb.py", "method.py"},
    "emulator/": {"_pb.py", "files.py", "rest/"},
    "_sync/": set(LAYERS) - {"_aio/"},
    "pytest_plugin.py": {"emulator/", "__init__.py"},
    "__main__.py": {"cli/"},
}
"""What alone some entries import beside their own files. The generator runs before there is a client, the emulator must
not share the client's bugs, and the shells are twins."""

USERS_OF = {"codegen/": {"cli/"}, "rest/": {"emulator/"}, "emulator/": {"__init__.py", "cli/", "pytest_plugin.py"}}
"""By which entries alone those are imported: nothing of a client needs them."""

PUBLIC = {
    "cli/": {"quota_use", "Client", "AsyncClient", "Operation", "Completion", "Chunk", "Message", "NoCredentials"},
    "pytest_plugin.py": {"Client", "AsyncClient", "Polling", "ApiKey", "IamToken"},
}
"""What the entries above the public names use of them; annotations may name any."""

MACHINE = {"grpc", "asyncio", "threading", "time", "random", "os"}
"""What only the shells and `_grpc` deal with: connections, event loops, threads, clocks, random numbers, the system."""

MACHINE_BELOW = {
    "files.py": ({"os"}, "reads the files that settings name"),
    "config.py": ({"os"}, "reads the settings that the environment holds"),
    "ids.py": ({"os"}, "draws the digits of request ids, again in a child that was forked"),
    "credentials/exchanged.py": ({"os"}, "looks for the file of a service account's key"),
    "credentials/metadata.py": ({"os"}, "reads the address of the metadata service from the environment"),
    "credentials/yc.py": ({"os"}, "reads the profile of yc from the environment"),
    "credentials/commands.py": ({"os", "threading", "time"}, "runs the yc command"),
}
"""The files below `_grpc` that import some of it all the same, and what for."""

SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in MODULES}
"""The text of each file, by its path below the package."""


def entry_of(file: str) -> str:
    """The entry of `LAYERS` that a file belongs to."""
    (found,) = [entry for entry in LAYERS if file == entry or (entry.endswith("/") and file.startswith(entry))]
    return found


def imports(file: str, *, typed: bool = True) -> Iterator[tuple[str, str]]:
    """What a file imports, functions included, as a module and a name of it; the name is empty for a module alone.

    Args:
        file: Which, by its path below the package.
        typed: Whether what only the type checker reads counts.
    """
    tree = ast.parse(SOURCES[file])
    for node in ast.walk(tree):
        if not typed and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield from ((str(node.module), alias.name) for alias in node.names)


def own_imports(file: str, *, typed: bool = True) -> dict[str, set[str]]:
    """The files of the package that a file imports, each with the names that it imports of it."""
    found: dict[str, set[str]] = {}
    for module, name in imports(file, typed=typed):
        if module.split(".")[0] != "yagrpc":
            continue
        submodule = file_of(f"{module}.{name}") if name else None
        imported = submodule or file_of(module)
        assert imported is not None, f"{file}: there is no module {module}"
        found.setdefault(imported, set()).update({name} - {""} if submodule is None else ())
    return found


def file_of(module: str) -> str | None:
    """The file of a module of the package, if there is one."""
    path = module.replace(".", "/").removeprefix("yagrpc").removeprefix("/")
    names = (f"{path}.py", f"{path}/__init__.py".removeprefix("/"))
    return next((name for name in names if name in SOURCES), None)


FILES = sorted(SOURCES)


def test_every_file_has_its_place_in_the_list() -> None:
    assert sorted({entry_of(file) for file in FILES}) == sorted(LAYERS)


def test_imports_are_found_wherever_they_stand() -> None:
    assert own_imports("_core/flow.py") == {
        "_core/call/call.py": {"Call", "Metadata"},
        "_core/call/recorder.py": {"Wakeable"},
        "_core/failure/status.py": {"RpcStatus"},
    }
    assert own_imports("__main__.py") == {"cli/__init__.py": {"main"}}
    assert "messages.py" in own_imports("_core/call/requests.py"), "an import in a function"
    assert own_imports("waiting.py")["_sync/operation.py"] == {"Operation"}, "an import for the type checker alone"


@pytest.mark.parametrize("file", FILES)
def test_imports_point_one_way(file: str) -> None:
    entry, imported = entry_of(file), own_imports(file)
    used = {entry_of(each) for each in imported} - {entry}
    assert not [each for each in used if LAYERS.index(each) > LAYERS.index(entry)]
    assert used <= APART.get(entry, set(LAYERS))
    assert all(entry in users for each, users in USERS_OF.items() if each in used)
    assert own_imports(file, typed=False).get("__init__.py", set()) <= PUBLIC.get(entry, set())
    assert not [module for module, _ in imports(file, typed=False) if module.split(".")[0] == "yagrpc_proto"]


def test_importing_the_package_loads_no_more_than_its_version() -> None:
    assert own_imports("__init__.py", typed=False) == {"_version.py": {"__version__"}}


def test_no_files_import_each_other() -> None:
    graph = {file: own_imports(file).keys() - {file} for file in FILES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(f"a circle: {' imports '.join(reversed(error.args[1]))}") from None


def test_only_the_shells_deal_with_the_machine() -> None:
    below = [file for file in FILES if LAYERS.index(entry_of(file)) < LAYERS.index("_grpc/")]
    found = {file: {module.split(".")[0] for module, _ in imports(file)} & MACHINE for file in below}
    assert {file: used for file, used in found.items() if used} == {
        file: used for file, (used, _) in MACHINE_BELOW.items()
    }


def test_methods_need_nothing_but_the_standard_library() -> None:
    names = {module.split(".")[0] for module, _ in imports("method.py")}
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("file", FILES)
def test_modules_say_what_they_are_for(file: str) -> None:
    assert ast.get_docstring(ast.parse(SOURCES[file]))


# How much a reader has to follow


PATH_OF_A_CALL = [
    "_core/deadline.py",
    "_core/call/call.py",
    "_core/call/policy.py",
    "_core/flow.py",
    "_core/failure/status.py",
    "_core/failure/retry.py",
    "_core/send.py",
]
"""What one call passes through, from its arguments to its answer or its error; the shells do what these say."""

GENERATED = "# Generated from "
"""What a file begins with that `scripts/make_sync.py` writes."""

BUDGETS: dict[str, tuple[int, list[str]]] = {
    "the path of one call": (900, PATH_OF_A_CALL),
    "_core": (3900, [file for file in FILES if file.startswith("_core/")]),
    "the hand-written shells": (
        2010,
        [file for file in FILES if file.startswith(("_aio/", "_sync/")) and not SOURCES[file].startswith(GENERATED)],
    ),
}
"""Lines of code at most that belong together, in which files."""

SUB_PACKAGE = 800
"""Lines of code at most of the files in one folder; those of the shells and of the emulator are counted elsewhere."""


def lines_of_code(file: str) -> int:
    """The lines of code of a file of the package."""
    return code_lines(SOURCES[file])


def code_lines(text: str) -> int:
    """The lines of a text that hold code: blank lines, comments and docstrings are not what is to be saved on."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.string.strip() and token.type != tokenize.COMMENT:
            held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            held.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(held)


def figures(files: Iterable[str]) -> str:
    """The figures of some files, for a failure: lines of code, and all lines, the longest file first."""
    rows = sorted(((lines_of_code(file), len(SOURCES[file].splitlines()), file) for file in files), reverse=True)
    rows.append((sum(code for code, _, _ in rows), sum(lines for _, lines, _ in rows), "together"))
    return "\n" + "\n".join(f"{code:6} of {lines:5} lines: {file}" for code, lines, file in rows)


def test_only_code_is_counted() -> None:
    text = '"""A\nmodule."""\n\n# why\nx = """a\nb"""  # text\n"""About x."""\n'
    SOURCES["sample"] = text + '\n\ndef f():\n    "Doc."\n    g(\n        x\n    )\n'
    try:
        assert lines_of_code("sample") == 6
    finally:
        del SOURCES["sample"]


@pytest.mark.parametrize("name", BUDGETS)
def test_what_belongs_together_can_be_read_together(name: str) -> None:
    budget, files = BUDGETS[name]
    assert sum(map(lines_of_code, files)) <= budget, figures(files)


@pytest.mark.parametrize(
    "folder", sorted({str(Path(file).parent) for file in FILES} - {".", "_aio", "_sync", "emulator"})
)
def test_a_sub_package_can_be_read_at_once(folder: str) -> None:
    files = [file for file in FILES if str(Path(file).parent) == folder]
    assert sum(map(lines_of_code, files)) <= SUB_PACKAGE, figures(files)


# What users see


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


TOUCHED: Final = "yagrpc.Client, yagrpc.AsyncClient, yagrpc.methods.TextGenerationAsyncService.Completion"

HEAVY: Final = frozenset(
    {"uuid", "sqlite3", "click", "rich", "dataclasses", "datetime", "random"}
    | {f"yagrpc.{name}" for name in ("messages", "results", "emulator", "redaction", "diagnosis", "_grpc.uploads")}
    | {f"yagrpc._core.failure.{name}" for name in ("hints", "connection", "details")}
    | {"yagrpc._core.endpoints.public", "yagrpc._core.auth.exchange", "yagrpc._core.auth.tokens"}
    | {"yagrpc._core.quota.grants", "yagrpc.quotas", "yagrpc.limiter.agent", "yagrpc.limiter.limits"}
)
"""What most programs never use, or only where something fails."""


def test_what_is_not_used_is_not_loaded() -> None:
    loaded = loaded_by(f"import yagrpc; {TOUCHED}") - loaded_by("import grpc, grpc.aio")
    assert not HEAVY & loaded
    assert all(find_spec(name) for name in HEAVY)
    assert not {name for name in loaded if name.endswith("_pb2") or name.startswith("google.")}
    assert not {name for name in loaded_by("import yagrpc") if name.split(".")[0] == "grpc"}


def test_an_import_compiles_no_regular_expression() -> None:
    loaded_by(f"import grpc, grpc.aio, re; del re.compile; import yagrpc; {TOUCHED}")


def test_what_only_failures_load_evaluates_no_text() -> None:
    """They may be loaded after Ctrl-C: where a text is evaluated then, Python forgets that the signal ends the process.

    A NamedTuple evaluates one. The process would end with the exit code 1.
    """
    failures = sorted(name for name in HEAVY if name.startswith("yagrpc._core.failure."))
    hook = "def hook(event, args):\n    assert event != 'compile' or args[1] != '<string>', args"
    loaded_by(f"import sys, re, yagrpc; {TOUCHED}\n{hook}\nsys.addaudithook(hook); import {', '.join(failures)}")
