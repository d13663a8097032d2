"""Packages with pools of their own: two versions of one proto in a process, messages across pools, and reflection."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool

import yagrpc
from yagrpc import _pb, methods

pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")

from yagrpc.codegen import generate

PROTOS = Path(__file__).parents[2] / "proto"

FIRST = """syntax = "proto3";
package notes.v1;
import "google/protobuf/wrappers.proto";
service NoteService { rpc Add (Note) returns (Note); }
enum Colour { COLOUR_UNSPECIFIED = 0; }
message Note { string text = 1; google.protobuf.Int64Value stars = 2; Colour colour = 3; }
"""
SECOND = """syntax = "proto3";
package notes.v1;
import "google/protobuf/wrappers.proto";
import "google/protobuf/timestamp.proto";
service NoteService { rpc Add (Note) returns (Note); rpc Remove (Note) returns (Note); }
enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; }
message Note {
  string text = 1; google.protobuf.Int64Value stars = 2; Colour colour = 3;
  google.protobuf.Timestamp at = 4;
}
"""


class Version:
    """A package that was generated from one of the versions."""

    def __init__(self, package: str) -> None:
        self.methods: Any = importlib.import_module(f"{package}.methods")
        self.messages: Any = importlib.import_module(f"{package}.notes.v1.notes_pb2")
        self.stubs: Any = importlib.import_module(f"{package}.notes.v1.notes_pb2_grpc")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Version, Version]]:
    """Both, in this process."""
    root = tmp_path_factory.mktemp("versions")
    for package, text in (("notes_one", FIRST), ("notes_two", SECOND)):
        folder = root / package / "notes/v1"
        folder.mkdir(parents=True)
        (folder / "notes.proto").write_text(text, "utf-8")
        generate([root / package], root / "out", package)
    sys.path.insert(0, str(root / "out"))
    yield Version("notes_one"), Version("notes_two")
    sys.path.remove(str(root / "out"))


def test_each_package_has_its_own_version(versions: tuple[Version, Version]) -> None:
    first, second = versions
    assert first.messages.DESCRIPTOR.name == second.messages.DESCRIPTOR.name == "notes/v1/notes.proto"
    assert set(first.messages.Note.DESCRIPTOR.fields_by_name) == {"text", "stars", "colour"}
    assert set(second.messages.Note.DESCRIPTOR.fields_by_name) == {"text", "stars", "colour", "at"}
    assert first.messages.Colour.keys() == ["COLOUR_UNSPECIFIED"]
    assert second.messages.Colour.keys() == ["COLOUR_UNSPECIFIED", "RED"]
    assert not hasattr(first.methods.NoteService, "Remove")
    for version in versions:
        note = version.messages.Note(text="a", stars={"value": 3})
        assert type(pickle.loads(pickle.dumps(note))) is version.messages.Note
        assert json_format.MessageToDict(note) == {"text": "a", "stars": "3"}


def test_two_versions_talk_to_each_other(versions: tuple[Version, Version]) -> None:
    old, new = versions

    class Notes(new.stubs.NoteServiceServicer):  # type: ignore[misc, name-defined]
        def Add(self, request: Any, context: grpc.ServicerContext) -> Any:
            assert type(request) is new.messages.Note
            request.at.FromSeconds(1000)
            request.colour = "RED"
            return request

    server = grpc.server(ThreadPoolExecutor(2))
    new.stubs.add_NoteServiceServicer_to_server(Notes(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    settings: dict[str, Any] = {"endpoint": address, "plaintext": True, "credentials": yagrpc.NoCredentials()}
    try:
        with yagrpc.Client(folder_id="f", **settings) as client:
            for version in versions:
                request = version.messages.Note(text="milk", stars=_pb_value(version, 7))
                added = client.call(version.methods.NoteService.Add, request)
                assert type(added) is version.messages.Note
                assert (added.text, added.stars.value, added.colour) == ("milk", 7, 1)
                # What the older version does not know is kept.
                assert new.messages.Note.FromString(added.SerializeToString()).at.seconds == 1000
            # A message of the one version is taken by the other's method, by its full name.
            crossed = client.call(old.methods.NoteService.Add, new.messages.Note(text="bread"))
            assert (type(crossed), crossed.text) == (old.messages.Note, "bread")
            with pytest.raises(yagrpc.RequestError, match=r"notes\.v1\.Note"):
                client.call(old.methods.NoteService.Add, _pb.operation_pb2.Operation())
    finally:
        server.stop(None).wait()


def _pb_value(version: Version, number: int) -> Any:
    """A wrapper of a package's own."""
    wrappers = importlib.import_module(f"{version.methods.__package__}.google.protobuf.wrappers_pb2")
    return wrappers.Int64Value(value=number)


def test_services_are_reflected_from_a_pool_of_their_own(versions: tuple[Version, Version]) -> None:
    reflection = pytest.importorskip("grpc_reflection.v1alpha.reflection")
    database = pytest.importorskip("grpc_reflection.v1alpha.proto_reflection_descriptor_database")
    _pb.load_messages()
    generation = methods.TextGenerationAsyncService.Completion.service
    _, new = versions
    note = new.messages.DESCRIPTOR.services_by_name["NoteService"]
    pools = {generation: _pb.POOL, note.full_name: note.file.pool}
    for service, pool in pools.items():
        server = grpc.server(ThreadPoolExecutor(2))
        reflection.enable_server_reflection([service, reflection.SERVICE_NAME], server, pool=pool)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            with grpc.insecure_channel(address) as channel:
                reflected = database.ProtoReflectionDescriptorDatabase(channel)
                assert service in reflected.get_services()
                found = DescriptorPool(reflected).FindServiceByName(service)
                ours = pool.FindServiceByName(service)
                assert found.file.serialized_pb == ours.file.serialized_pb
                shape = [(method.name, method.input_type.full_name) for method in found.methods]
                assert shape == [(method.name, method.input_type.full_name) for method in ours.methods]
                assert len(shape) > 0
        finally:
            server.stop(None).wait()
