"""`protoc-gen-yagrpc`: the generator as a plugin of protoc and of buf.

    protoc --plugin=protoc-gen-yagrpc=... --yagrpc_out=src --yagrpc_opt=package=stubs -I protos a.proto

Rules: stdin has a `CodeGeneratorRequest`, stdout gets a `CodeGeneratorResponse`, and what is wrong with the protos is
the error of the response. The package has all files of the request, imported ones too, so that one run has to be given
all protos: buf's `strategy: all`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from google.protobuf.message import DecodeError

from yagrpc.codegen.checks import check_package
from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.generate import completed, package_files
from yagrpc.codegen.reading.descriptor_sets import check_texts, without_unknown_fields

__all__ = ["main"]

_USAGE = "protoc-gen-yagrpc is a plugin of protoc and of buf: give protoc --yagrpc_out=DIR --yagrpc_opt=package=NAME"


def main() -> None:
    """Answer the request on stdin; the process ends with 2 if there is none."""
    if len(sys.argv) > 1 or sys.stdin.isatty():
        print(_USAGE, file=sys.stderr)
        sys.exit(2)
    try:
        request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    except (DecodeError, UnicodeDecodeError):
        print(_USAGE, file=sys.stderr)
        sys.exit(2)
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
        | plugin_pb2.CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS,
        minimum_edition=descriptor_pb2.EDITION_PROTO2,
        maximum_edition=descriptor_pb2.EDITION_2023,
    )
    try:
        for path, text in sorted(_files(request).items()):
            response.file.add(name=path, content=text)
    except GenerateError as error:
        response.error = str(error)
    except OSError as error:
        response.error = f"the generator needs a folder for temporary files: {error}"
    sys.stdout.buffer.write(response.SerializeToString())


def _files(request: plugin_pb2.CodeGeneratorRequest) -> dict[str, str]:
    """The texts of the package that a request asks for, by their paths below the output folder."""
    package = _package(request.parameter)
    check_package(package, Path.cwd())
    given = without_unknown_fields(request.proto_file)
    check_texts(given)
    with tempfile.TemporaryDirectory(prefix="protoc-gen-yagrpc-") as folder:
        work = Path(folder)
        texts = package_files(completed(given, (), work), package, work)
    above = package.replace(".", "/")
    return {f"{above}/{path}": text for path, text in texts.items()}


def _package(parameter: str) -> str:
    options = [option.strip() for option in parameter.split(",") if option.strip()]
    names = [option.removeprefix("package=") for option in options if option.startswith("package=")]
    if len(names) != 1 or len(options) != 1:
        raise GenerateError(f"the plugin has one option, which is needed: package=NAME; given: {parameter!r}")
    return names[0]
