"""Writes `methods.py`: all services of a generated package under their short names.

Rules: a table is imported when its service is first asked for. A short name that occurs twice (as many do over a whole
cloud) is refused with both full names, so that nobody gets the other one's service.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import descriptor_pb2

from yagrpc.codegen.layout import Layout

__all__ = ["listing_module"]

_BODY = """
def __getattr__(name: str) -> Any:
    homes = SERVICES.get(name, ())
    if len(homes) > 1:
        raise AttributeError(f"{name} is the name of several services: import one of {', '.join(homes)}")
    if not homes:
        raise AttributeError(f"module {__name__!r} has no service {name!r}")
    module, _, service = homes[0].rpartition(".")
    table = globals()[name] = getattr(importlib.import_module(module), service)
    return table


def __dir__() -> list[str]:
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
        "from __future__ import annotations\n",
        "import importlib",
        "from typing import TYPE_CHECKING, Any, Final\n",
    ]
    if single:
        lines.append("if TYPE_CHECKING:")
        lines += [f"    from {module} import {name} as {name}" for name, module in single.items()]
        lines.append("")
    lines.append("__all__ = [")
    lines += [f'    "{name}",' for name in single]
    lines += ["]\n", "SERVICES: Final[dict[str, tuple[str, ...]]] = {"]
    for name, modules in sorted(homes.items()):
        quoted = ", ".join(f'"{module}.{name}"' for module in sorted(modules))
        lines.append(f'    "{name}": ({quoted},),')
    lines += ["}", '"""Where each service is; a name that occurs twice has several places."""\n', _BODY.lstrip()]
    return "\n".join(lines)
