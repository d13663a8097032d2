"""The code generator: a tree of Yandex Cloud protos in, one importable typed package out.

What it writes, for every proto file that is asked for and all that they import:

    <package>/_pool.py             the package's own descriptor pool
    <package>/**/<file>_pb2.py     messages, registered in that pool (with `.pyi`)
    <package>/**/<file>_pb2_grpc.py    stubs and servicers (with `.pyi`, sync and async)
    <package>/**/<file>_methods.py     the typed method table
    <package>/methods.py           all services by their short names, loaded when asked for

Rules: the protos may be anybody's. Their names are checked before a program sees them, and their comments are cleaned.
Nothing of yagrpc is imported here, so that the generator runs in an environment that holds only the
compilers (`grpcio-tools` and `mypy-protobuf`). The same tool versions give the same bytes on any machine.
"""

from __future__ import annotations

from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.generate import generate

__all__ = ["GenerateError", "generate"]
