"""Answers as they come off the wire: measured, parsed, and never an exception."""

from __future__ import annotations

from yagrpc import _pb, methods
from yagrpc._core.failure.sizes import Unreadable
from yagrpc._grpc.deserializers import deserializer

TOKENIZE = methods.TokenizerService.Tokenize


def test_an_answer_is_parsed_up_to_the_limit() -> None:
    body = _pb.text_generation_service_pb2.TokenizeResponse(model_version="1").SerializeToString()
    assert deserializer(TOKENIZE, len(body))(body).model_version == "1"
    assert deserializer(TOKENIZE, -1)(body).model_version == "1"
    answer = deserializer(TOKENIZE, len(body) - 1)(body)
    assert isinstance(answer, Unreadable)
    assert (answer.size, answer.limit) == (len(body), len(body) - 1)


def test_a_long_running_method_answers_with_an_operation() -> None:
    body = _pb.operation_pb2.Operation(id="op").SerializeToString()
    assert deserializer(methods.TextGenerationAsyncService.Completion, -1)(body).id == "op"


def test_an_answer_that_does_not_parse_is_a_value() -> None:
    answer = deserializer(TOKENIZE, 100)(b"\xff\xff\xff")
    assert isinstance(answer, Unreadable)
    assert (answer.size, answer.limit) == (3, None)
    assert answer.reason
    assert answer.reason == " ".join(answer.reason.split())
