"""Request ids: random, well formed, and each process its own."""

from __future__ import annotations

import os
import uuid

import pytest

from yagrpc.ids import new_request_id


def test_an_id_is_a_random_uuid_of_its_own() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
    assert {text[19] for text in ids} == set("89ab")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_makes_its_own() -> None:
    mine = new_request_id()  # now some are ready
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(new_request_id() for _ in range(64)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 64 * 36).decode()
    os.close(reading)
    os.close(writing)
    ours = {mine, *(new_request_id() for _ in range(200))}
    assert len(theirs) == 64 * 36
    assert not ours & {theirs[start : start + 36] for start in range(0, len(theirs), 36)}
