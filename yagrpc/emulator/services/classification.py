"""`TextClassificationService`."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.answers.classification import classify, few_shot_classify
from yagrpc.emulator.refusal import invalid
from yagrpc.emulator.services import checks
from yagrpc.emulator.services.scripted import scripted_response
from yagrpc.emulator.state import State

__all__ = ["add"]

_Tuned: TypeAlias = "_pb.text_classification_service_pb2.TextClassificationRequest"
_FewShot: TypeAlias = "_pb.text_classification_service_pb2.FewShotTextClassificationRequest"


def add(server: grpc.aio.Server, state: State) -> None:
    """Register the servicer."""
    stubs = _pb.text_classification_service_pb2_grpc
    stubs.add_TextClassificationServiceServicer_to_server(_TextClassification(state), server)


class _TextClassification(_pb.text_classification_service_pb2_grpc.TextClassificationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Classify(
        self, request: _pb.text_classification_service_pb2.TextClassificationRequest, context: Any
    ) -> _pb.text_classification_service_pb2.TextClassificationResponse:
        _check_tuned(request)
        response_type = _pb.text_classification_service_pb2.TextClassificationResponse
        scripted = scripted_response(self._state, request.text, response_type)
        return classify(request) if scripted is None else scripted

    async def FewShotClassify(
        self, request: _pb.text_classification_service_pb2.FewShotTextClassificationRequest, context: Any
    ) -> _pb.text_classification_service_pb2.FewShotTextClassificationResponse:
        _check_few_shot(request)
        response_type = _pb.text_classification_service_pb2.FewShotTextClassificationResponse
        scripted = scripted_response(self._state, request.text, response_type)
        return few_shot_classify(request) if scripted is None else scripted


def _check_tuned(request: _Tuned) -> None:
    """Check that the model is a tuned one, and the text.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    checks.check_model_uri(request.model_uri, "cls")
    if "@" not in request.model_uri:
        raise invalid(
            f"Failed to get model {request.model_uri}"
        )  # quoted from the service; when the service says it is not known
    checks.check_text(request.text, "text")


def _check_few_shot(request: _FewShot) -> None:
    """Check the model, the description, the labels, their examples and the text.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    checks.check_model_uri(request.model_uri, "cls")
    checks.check_required("task_description", request.task_description)
    if not request.labels:
        raise invalid("labels: at least one label is required")
    checks.check_text(request.text, "text")
    labels = frozenset(request.labels)  # both may be many: a peer decides
    for index, sample in enumerate(request.samples):
        checks.check_text(sample.text, f"samples[{index}].text")
        if sample.label not in labels:
            raise invalid(f"samples[{index}].label: '{sample.label}' is not among the labels")
