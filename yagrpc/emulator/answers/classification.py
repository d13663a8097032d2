"""Classes of texts: the label wins that the text names, or whose examples share words with the text.

Rules: pure; equal requests have equal answers. The labels of a tuned classifier are not known here, so its answer has
one label of the emulator's.
"""

from __future__ import annotations

import math
import zlib
from typing import Final, TypeAlias

from yagrpc import _pb
from yagrpc.emulator.answers import tokens
from yagrpc.emulator.replies import MODEL_VERSION

__all__ = ["TUNED_LABEL", "classify", "few_shot_classify"]

TUNED_LABEL: Final = "yagrpc-emulator"
"""The one label in the answer of a tuned classifier; the service lists a label that the classifier was tuned with."""

_STARTS: Final = 1
"""Tokens before a text: `hello`, one token, is counted as two. Source: recorded answers."""

_Tuned: TypeAlias = "_pb.text_classification_service_pb2.TextClassificationRequest"
_FewShot: TypeAlias = "_pb.text_classification_service_pb2.FewShotTextClassificationRequest"


def classify(request: _Tuned) -> _pb.text_classification_service_pb2.TextClassificationResponse:
    """One label, no model version, as recorded of a tuned classifier."""
    response = _pb.text_classification_service_pb2.TextClassificationResponse(input_tokens=_count(request.text))
    # A binary fraction, as the service's: it comes through JSON unchanged.
    response.predictions.add(label=TUNED_LABEL, confidence=0.5 + _share(request.text) / 2)
    return response


def few_shot_classify(request: _FewShot) -> _pb.text_classification_service_pb2.FewShotTextClassificationResponse:
    """All labels in the request's order; their confidences add up to 1."""
    scores = _scores(request)
    total = sum(scores)
    texts = [request.task_description, *request.labels, request.text]
    texts += [part for sample in request.samples for part in (sample.text, sample.label)]
    response = _pb.text_classification_service_pb2.FewShotTextClassificationResponse(
        model_version=MODEL_VERSION, input_tokens=_STARTS + sum(len(tokens.pieces(text)) for text in texts)
    )
    for label, score in zip(request.labels, scores, strict=True):
        response.predictions.add(label=label, confidence=score / total)
    return response


def _scores(request: _FewShot) -> list[float]:
    """How well each label fits: its name in the text, words shared with its examples, and a small share of chance.

    The text and each example are read once, however many labels there are.
    """
    words = _words(request.text)
    shared: dict[str, float] = {}
    for sample in request.samples:
        likeness = len(words & _words(sample.text)) / len(words)
        shared[sample.label] = max(likeness, shared.get(sample.label, 0.0))
    start = zlib.crc32(request.text.encode())
    return [
        math.exp((4.0 if _words(label) <= words else 0.0) + 3.0 * shared.get(label, 0.0) + _share(label, start))
        for label in request.labels
    ]


def _words(text: str) -> set[str]:
    return {piece.strip().casefold() for piece in tokens.pieces(text)}


def _share(text: str, start: int = 0) -> float:
    """From 0 to 1, by the text, and by the checksum of what stands before it."""
    return zlib.crc32(text.encode(), start) % 1024 / 1024


def _count(text: str) -> int:
    return len(tokens.pieces(text)) + _STARTS
