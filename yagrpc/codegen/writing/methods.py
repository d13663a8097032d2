"""Writes `_methods.py`: one typed object per rpc, with its path, types, REST binding and documentation.

Rules: a table imports only `yagrpc.method` when it is loaded; message modules are imported for the type checker
alone. Every imported name begins with an underscore, which no service and no rpc does (`names.py`). The result of a
long-running rpc comes from its `(yandex.cloud.api.operation)` option, whose names are resolved as protobuf resolves a
relative name.
"""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2

from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.writing.layout import Layout
from yagrpc.codegen.writing.options import OptionReader

__all__ = ["MethodTables"]

_OPERATION = "yandex.cloud.operation.Operation"

_STREAMS = {
    (False, True): "StreamMethod",
    (True, False): "ClientStreamMethod",
    (True, True): "BidiStreamMethod",
}
"""Kinds of streaming rpcs, by whether the client and the server stream."""


class _Types(NamedTuple):
    """The types of one rpc, as full message names."""

    kind: str
    request: str
    response: str
    metadata: str | None = None


class MethodTables:
    """Makes the tables of all services in one set of files.

    Args:
        layout: Where the Python modules of all compiled files are.
        options: Reads their options.
    """

    def __init__(self, layout: Layout, options: OptionReader) -> None:
        self._layout = layout
        self._options = options

    def module(self, file: descriptor_pb2.FileDescriptorProto, header: str) -> str:
        """The text of one file's `_methods.py`.

        Raises:
            GenerateError: An rpc's types do not resolve.
        """
        comments = _comments(file)
        modules = _Imports()
        body: list[str] = []
        for number, service in enumerate(file.service):
            full_name = f"{file.package}.{service.name}" if file.package else service.name
            summary = comments.get((6, number), f"Methods of {full_name}.")
            body += ["", "", f"class {service.name}:", *_docstring(summary, "    ")]
            for place, method in enumerate(service.method):
                types = self._types(file, full_name, method)
                body += ["", *self._entry(full_name, method, types, modules)]
                if comment := comments.get((6, number, 2, place)):
                    body += _docstring(comment, "    ")
        return "\n".join(
            [
                f'{header}"""Methods of {file.name}."""\n',
                "from __future__ import annotations\n",
                "import typing as _typing\n",
                "from yagrpc import method as _method\n",
                *(["if _typing.TYPE_CHECKING:"] if modules.lines() else []),
                *(f"    {line}" for line in modules.lines()),
                *body,
                "",
            ]
        )

    def _types(
        self,
        file: descriptor_pb2.FileDescriptorProto,
        service: str,
        method: descriptor_pb2.MethodDescriptorProto,
    ) -> _Types:
        request, response = method.input_type[1:], method.output_type[1:]
        where = f"{file.name}: rpc {service}.{method.name}"
        if kind := _STREAMS.get((method.client_streaming, method.server_streaming)):
            return _Types(kind, request, response)
        declared = self._options.of_method(method, "yandex.cloud.api.operation")
        if response != _OPERATION or declared is None:
            return _Types("UnaryMethod", request, response)
        resolved: dict[str, str | None] = {}
        for role in ("response", "metadata"):
            name: str = getattr(declared, role)
            resolved[role] = self._layout.resolve(name, service) if name else None
            if name and resolved[role] is None:
                raise GenerateError(f"{where}: its operation's {role} type {name!r} is not in any compiled file")
        if resolved["response"] is None:
            raise GenerateError(f"{where}: its operation option names no response type")
        return _Types("OperationMethod", request, resolved["response"], resolved["metadata"])

    def _entry(
        self,
        service: str,
        method: descriptor_pb2.MethodDescriptorProto,
        types: _Types,
        modules: _Imports,
    ) -> list[str]:
        full_names = {"request": types.request, "response": types.response}
        parameters = list(full_names.values())
        if types.kind == "OperationMethod":
            full_names["operation"] = _OPERATION
            parameters.append(types.metadata or "")
            if types.metadata:
                full_names["metadata"] = types.metadata
        annotation = ", ".join(modules.name(self._layout.locate(name)) if name else "None" for name in parameters)
        kind = f"_method.{types.kind}"
        lines = [f"    {method.name}: _typing.Final[{kind}[{annotation}]] = {kind}("]
        lines.append(f'        "/{service}/{method.name}",')
        for role, name in full_names.items():
            lines.append(f'        {role}="{":".join(self._layout.locate(name))}",')
        if rule := self._options.of_method(method, "google.api.http"):
            lines.append(f"        http={_http(rule)},")
        return [*lines, "    )"]


class _Imports:
    """The message modules that a table's annotations name, each under an alias of its own."""

    def __init__(self) -> None:
        self._aliases: dict[str, str] = {}

    def name(self, located: tuple[str, str]) -> str:
        module, nested = located
        if module not in self._aliases:
            alias = short = f"_{module.rpartition('.')[2]}"
            count = 1
            while alias in self._aliases.values():
                count += 1
                alias = f"{short}_{count}"
            self._aliases[module] = alias
        return f"{self._aliases[module]}.{nested}"

    def lines(self) -> list[str]:
        return [
            f"from {module.rpartition('.')[0]} import {module.rpartition('.')[2]} as {alias}"
            for module, alias in sorted(self._aliases.items())
        ]


def _http(rule: Any) -> str:
    verb = rule.WhichOneof("pattern") or ""
    path: Any = getattr(rule, verb, "")
    if verb == "custom":
        verb, path = path.kind, path.path
    further = [_http(binding) for binding in rule.additional_bindings]
    arguments = [verb.upper(), path, *([rule.body] if rule.body or further else [])]
    return f"_method.HttpRule({', '.join([*map(_quoted, arguments), *further])})"


def _quoted(text: str) -> str:
    """A literal in double quotes; what can't be printed is escaped."""
    escapes = {"\\": "\\\\", '"': '\\"'}
    return '"' + "".join(escapes.get(each, each) if each.isprintable() else ascii(each)[1:-1] for each in text) + '"'


def _comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Leading comments by the path of what they stand before."""
    return {
        tuple(location.path): textwrap.dedent(location.leading_comments).strip()
        for location in file.source_code_info.location
        if location.leading_comments.strip()
    }


def _docstring(comment: str, indent: str) -> list[str]:
    text = comment.replace("\\", "\\\\")  # its triple quotes are gone already
    if text.endswith('"'):
        text += " "
    lines = text.splitlines()
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    rest = [f"{indent}{line}".rstrip() for line in lines[1:]]
    return [f'{indent}"""{lines[0]}', *rest, f'{indent}"""']
