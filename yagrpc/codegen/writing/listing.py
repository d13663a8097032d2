"""Writes `methods.py`: all services of a generated package under their short names.

Rules: a table is imported when its service is first asked for. A short name that occurs twice (as many do over a whole
cloud) is refused with both full names, so that nobody gets the other one's service. Every other name begins with an
underscore, which no service does (`names.py`), and nothing is taken from the built-in names, which a service may have.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import descriptor_pb2

from yagrpc.codegen.writing.layout import Layout

__all__ = ["listing_module"]

_BODY = """
def __getattr__(name: _builtins.str) -> _typing.Any:
    homes = _SERVICES.get(name, ())
    if homes[1:]:
        text = f"{name} is the name of several services: import one of {', '.join(homes)}"
        raise _builtins.AttributeError(text)
    if not homes:
        raise _builtins.AttributeError(f"module {__name__!r} has no service {name!r}")
    module, _, service = homes[0].rpartition(".")
    table = _builtins.globals()[name] = _builtins.getattr(_importlib.import_module(module), service)
    return table


def __dir__() -> _builtins.list[_builtins.str]:
    return __all__
"""


def listing_module(files: Iterable[descriptor_pb2.FileDescriptorProto], layout: Layout, header: str) -> str:
    """The text of a package's `methods.py`."""
    homes: dict[str, list[str]] = {}
    for file in files:
        for service in file.service:
            homes.setdefault(service.name, []).append(layout.module(file.name, "_methods"))
    single = {name: modules[0] for name, modules in sorted(homes.items()) if len(modules) == 1}
    lines = [
        f'{header}"""The services of this package, by their short names; each is imported when it is asked for."""\n',
        "import builtins as _builtins",
        "import importlib as _importlib",
        "import typing as _typing\n",
    ]
    if single:
        lines.append("if _typing.TYPE_CHECKING:")
        lines += [f"    from {module} import {name} as {name}" for name, module in single.items()]
        lines.append("")
    lines.append("__all__ = [")
    lines += [f'    "{name}",' for name in single]
    lines += ["]\n", "_Homes = _builtins.tuple[_builtins.str, ...]"]
    lines.append("_SERVICES: _typing.Final[_builtins.dict[_builtins.str, _Homes]] = {")
    for name, modules in sorted(homes.items()):
        quoted = ", ".join(f'"{module}.{name}"' for module in sorted(modules))
        lines.append(f'    "{name}": ({quoted},),')
    lines += ["}", '"""Where each service is; a name that occurs twice has several places."""\n', _BODY.lstrip()]
    return "\n".join(lines)
