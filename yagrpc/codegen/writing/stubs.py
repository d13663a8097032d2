"""Adapts what protoc's gRPC plugins write: our header in front, their version guard out.

The guard refuses to import beside a grpcio older than the compiler. The stubs need nothing that new, and the
range that they do work with is claimed in pyproject.toml and shown by test runs instead.

Rules: the edits use the syntax tree's line ranges, and are counted; an output of another shape is an error,
never a half-edited file.
"""

from __future__ import annotations

import ast
import builtins
import re

from yagrpc.codegen.errors import GenerateError

__all__ = ["without_version_guard"]

_GUARD_NAMES = {"GRPC_GENERATED_VERSION", "GRPC_VERSION", "_version_not_supported"}

_BUILT_IN = frozenset(dir(builtins))

_DEFINED = re.compile(r"^(?:class|    def) (\w+)", re.MULTILINE)

_GUARD_STATEMENTS = {".py": 6, ".pyi": 2}
"""In a module: `import warnings`, three assignments, the comparison, the refusal. In a stub file: two names."""


def without_version_guard(source: str, suffix: str, name: str) -> str:
    """Drop the grpcio version guard from a `_pb2_grpc` file.

    Args:
        source: What the plugin wrote.
        suffix: `.py` or `.pyi`.
        name: The file's name, for the error.

    Raises:
        GenerateError: The guard is not of the form that this generator knows, the plugin's output is not Python, or
            a service or an rpc would hide a built-in name that the output uses.
    """
    lines = source.splitlines()
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise GenerateError(
            f"{name}: a service, an rpc, or a message that one takes is named by a word of Python's own, and gRPC's "
            f"plugin can't write it: {(error.text or '').strip()}"
        ) from error
    guard = [node for node in tree.body if _is_guard(node)]
    if len(guard) != _GUARD_STATEMENTS[suffix]:
        raise GenerateError(
            f"{name}: the gRPC plugin's version guard has {len(guard)} statements, not "
            f"{_GUARD_STATEMENTS[suffix]}; this generator does not know that grpcio-tools or mypy-protobuf"
        )
    tree.body = [node for node in tree.body if node not in guard]
    named = _BUILT_IN.intersection(_DEFINED.findall(source))
    if hidden := named and named & _used(tree):
        text = f"gRPC's plugin uses Python's own {min(hidden)}, which can't be the name of a service or an rpc"
        raise GenerateError(f"{name}: {text}")
    for node in guard:
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        lines[first:last] = [""] * (last - first)
    kept: list[str] = []
    for line in lines:
        if line or not kept or kept[-1]:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def _used(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _is_guard(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names] == ["warnings"]
    if isinstance(node, ast.Assign):
        return bool(_GUARD_NAMES & {target.id for target in node.targets if isinstance(target, ast.Name)})
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id in _GUARD_NAMES
    if isinstance(node, ast.Try):
        return "first_version_is_lower" in ast.dump(node)
    return isinstance(node, ast.If) and "_version_not_supported" in ast.dump(node.test)
