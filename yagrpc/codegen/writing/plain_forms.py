"""Adapts what protoc's message plugin writes: a well-known type's field takes a plain mapping too.

The runtime takes `temperature={"value": 0.3}` and `parameters={"type": "object"}` wherever a wrapper, a `Struct` or a
`Timestamp` is wanted, and the plugin's constructors say so of no field. Of other messages a mapping stays refused: the
checker would know nothing of what is in it, and their classes are at hand.

Rules: only constructors' parameters are touched, and one whose type is not of this package's `google.protobuf` is left
as it is.
"""

from __future__ import annotations

import re

__all__ = ["with_plain_forms"]

_FILES = "any|duration|field_mask|struct|timestamp|wrappers"
_IMPORT = rf"^from {{package}}\.google\.protobuf import (?:{_FILES})_pb2 as (\w+)$"
_PARAMETER = r"^(        \w+: (?:{aliases})\.\w+)( \| None = \.\.\.,)$"
_MAPPING = r"\1 | _typing.Mapping[_builtins.str, _typing.Any]\2"


def with_plain_forms(source: str, package: str) -> str:
    """Let well-known types' parameters take mappings.

    Args:
        source: A `_pb2.pyi` as the plugin wrote it.
        package: The generated package's name.
    """
    aliases = re.findall(_IMPORT.format(package=re.escape(package)), source, re.MULTILINE)
    if not aliases:
        return source
    return re.sub(_PARAMETER.format(aliases="|".join(map(re.escape, aliases))), _MAPPING, source, flags=re.MULTILINE)
