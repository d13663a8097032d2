"""Embeddings, classification and images: what they answer, what they refuse, and how they are scripted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import MODEL_VERSION, Failure, paths

if TYPE_CHECKING:
    from tests.emulator.conftest import Emulate, Refused, Service

INVALID = grpc.StatusCode.INVALID_ARGUMENT

Embedding = _pb.embedding_service_pb2.TextEmbeddingRequest
Tuned = _pb.text_classification_service_pb2.TextClassificationRequest
FewShot = _pb.text_classification_service_pb2.FewShotTextClassificationRequest
Image = _pb.image_generation_service_pb2.ImageGenerationRequest
Options = _pb.image_generation_pb2.ImageGenerationOptions
Ratio = _pb.image_generation_pb2.AspectRatio
Part = _pb.image_generation_pb2.Message

EMB, CLS, ART = "emb://b1gfolder/text-search-doc/latest", "cls://b1gfolder/yandexgpt-lite/latest", "art://b1gfolder/a"
TUNED = f"{CLS}@tamrsuffix"


def embedding(text: str, **fields: Any) -> Embedding:
    return Embedding(**{"model_uri": EMB, "text": text, **fields})


def few_shot(text: str, **fields: Any) -> FewShot:
    fields = {"model_uri": CLS, "task_description": "mood", "labels": ["good", "bad"], "text": text, **fields}
    return FewShot(**fields)


def image(*texts: str, **fields: Any) -> Image:
    return Image(**{"model_uri": ART, "messages": [Part(text=text) for text in texts], **fields})


def picture(service: Service, request: Image) -> bytes:
    """The file that a request ends in."""
    operation = service.get(service.images.Generate(request).id)
    response = _pb.image_generation_service_pb2.ImageGenerationResponse()
    assert operation.response.Unpack(response)
    return response.image


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Width and height, as the frame header says."""
    at = jpeg.index(b"\xff\xc0")
    return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")


def test_a_vector_is_the_texts_own(service: Service) -> None:
    response = service.embeddings.TextEmbedding(embedding("hello"))
    assert len(response.embedding) == 256
    assert math.hypot(*response.embedding) == pytest.approx(1)
    assert response.num_tokens == 3, "as recorded"
    assert response.model_version == MODEL_VERSION
    assert response == service.embeddings.TextEmbedding(embedding("hello"))
    assert response != service.embeddings.TextEmbedding(embedding("world"))


def test_texts_that_share_words_are_near(service: Service) -> None:
    def vector(text: str) -> list[float]:
        return list(service.embeddings.TextEmbedding(embedding(text)).embedding)

    def near(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    question = vector("Where does the platypus live?")
    assert near(question, vector("The platypus is to live in Australia")) > near(question, vector("Bread needs flour"))


def test_a_dimension_may_be_asked_for(service: Service) -> None:
    tuned = embedding("hello", model_uri="gpt://b1gfolder/text-embeddings/latest@suffix", dim={"value": 7})
    assert len(service.embeddings.TextEmbedding(tuned).embedding) == 7


V2_DOC, V2_QUERY = "emb://b1gfolder/text-embeddings-v2-doc/latest", "emb://b1gfolder/text-embeddings-v2-query/"


def test_models_v2_have_256_numbers_or_768(service: Service) -> None:
    vectors = {
        dim: service.embeddings.TextEmbedding(embedding("hello", model_uri=V2_DOC, **fields)).embedding
        for dim, fields in {0: {}, 256: {"dim": {"value": 256}}, 768: {"dim": {"value": 768}}}.items()
    }
    assert [len(vector) for vector in vectors.values()] == [256, 256, 768]
    assert vectors[0] == vectors[256]
    assert all(math.hypot(*vector) == pytest.approx(1) for vector in vectors.values())
    length = math.hypot(*vectors[768][:256])
    assert [number / length for number in vectors[768][:256]] == pytest.approx(list(vectors[256]))


def test_vectors_compare_within_a_generation_of_models_only(service: Service) -> None:
    def vector(model_uri: str) -> list[float]:
        return list(service.embeddings.TextEmbedding(embedding("hello", model_uri=model_uri)).embedding)

    assert vector(V2_DOC) == vector(V2_QUERY)
    assert vector(EMB) == vector("emb://b1gfolder/text-search-query/latest")
    assert abs(sum(a * b for a, b in zip(vector(EMB), vector(V2_DOC), strict=True))) < 0.3


def test_a_tuned_classifier_lists_one_label(service: Service) -> None:
    response = service.classification.Classify(Tuned(model_uri=TUNED, text="hello"))
    (prediction,) = response.predictions
    assert 0.5 <= prediction.confidence <= 1
    assert response.input_tokens == 2, "as recorded"
    assert response.model_version == "", "as recorded"


def test_confidences_add_up_to_one(service: Service) -> None:
    response = service.classification.FewShotClassify(few_shot("no idea", labels=["a", "b", "c"]))
    assert [prediction.label for prediction in response.predictions] == ["a", "b", "c"]
    assert sum(prediction.confidence for prediction in response.predictions) == pytest.approx(1)
    assert response.input_tokens > 5
    assert response.model_version == MODEL_VERSION


def test_a_label_that_is_named_wins_and_so_does_that_of_a_like_example(service: Service) -> None:
    samples = [{"text": "what a lovely day", "label": "good"}, {"text": "it rains again", "label": "bad"}]
    for text, expected in (("bad luck", "bad"), ("such a lovely day", "good"), ("again it rains", "bad")):
        response = service.classification.FewShotClassify(few_shot(text, samples=samples))
        best = max(response.predictions, key=lambda prediction: prediction.confidence)
        assert best.label == expected, text


def test_an_image_operation_fills_neither_times_nor_creator(emulate: Emulate) -> None:
    service = emulate(duration=10)
    running = service.images.Generate(image("a platypus"))
    assert running == _pb.operation_pb2.Operation(id=running.id)
    assert running.id.startswith("fbv")
    assert len(running.id) == 20
    service.emulator.advance(10)
    done = service.get(running.id)
    assert {field.name for field, _ in done.ListFields()} == {"id", "done", "response"}
    assert done.response.type_url == (
        "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.image_generation.ImageGenerationResponse"
    )
    assert service.get(running.id) == done


def test_an_image_operation_survives_in_a_state_file(emulate: Emulate, tmp_path: Path) -> None:
    file = tmp_path / "operations.db"
    service = emulate(duration=10, state=file)
    operation_id = service.images.Generate(image("a platypus")).id
    service.emulator.stop()
    service = emulate(duration=10, state=file)
    service.emulator.advance(10)
    response = _pb.image_generation_service_pb2.ImageGenerationResponse()
    assert service.get(operation_id).response.Unpack(response)
    assert b"a platypus" in response.image
    assert service.emulator.deliveries == {operation_id: 1}


def test_an_image_is_a_jpeg_that_names_its_prompt(emulate: Emulate) -> None:
    service = emulate(duration=0)
    jpeg = picture(service, image("a platypus", "утконос"))
    assert jpeg.startswith(b"\xff\xd8\xff\xe0")
    assert jpeg.endswith(b"\xff\xd9")
    assert "a platypus\nутконос".encode() in jpeg
    assert size_of(jpeg) == (1024, 1024)
    assert jpeg == picture(service, image("a platypus", "утконос"))
    unset = Options(aspect_ratio=Ratio(width_ratio=0, height_ratio=0))
    assert size_of(picture(service, image("a platypus", generation_options=unset))) == (1024, 1024)
    assert jpeg != picture(service, image("a platypus", "утконос", generation_options=Options(seed=1)))


@pytest.mark.parametrize(("width", "height"), [(2, 1), (3, 4), (1, 2**63 - 1), (2**63 - 1, 1)])
def test_the_shape_is_the_one_asked_for(emulate: Emulate, width: int, height: int) -> None:
    service = emulate(duration=0)
    ratio = Ratio(width_ratio=width, height_ratio=height)
    size = size_of(picture(service, image("x", generation_options=Options(aspect_ratio=ratio))))
    expected = min(max(width / height, 0.25), 4)
    assert size[0] / size[1] == pytest.approx(expected, rel=0.02)
    assert size[0] * size[1] == pytest.approx(1024 * 1024, rel=0.02)


def test_an_image_operation_expires_and_is_cancelled_as_others(emulate: Emulate, refused: Refused) -> None:
    service = emulate(duration=10)
    first, second = (service.images.Generate(image(text)) for text in ("a", "b"))
    assert service.cancel(second.id).error.code == 1
    service.emulator.advance(3 * 24 * 3600)
    assert refused(service.get, first.id).code is grpc.StatusCode.NOT_FOUND


LONG = "a " * 2000


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (embedding("a", model_uri="gpt://b1gfolder/yandexgpt"), "Failed to get model gpt://b1gfolder/yandexgpt"),
        (embedding(""), "text: text length is 0, which is outside the range (0, 100000]"),
        (embedding(LONG), "number of input tokens must be no more than 2000, got 2003"),
        (embedding("a", dim={"value": 0}), "dim must be from 1 to 2048, got 0"),
        (embedding("a", dim={"value": 2049}), "dim must be from 1 to 2048, got 2049"),
        (embedding("a", dim={"value": 256}), "dim is not available for the model text-search-doc"),
        (embedding("a", model_uri=V2_DOC, dim={"value": 7}), "dim must be one of 256, 768, got 7"),
        (embedding("a", model_uri=V2_QUERY, dim={"value": 512}), "dim must be one of 256, 768, got 512"),
        (Tuned(model_uri=CLS, text="a"), f"Failed to get model {CLS}"),
        (Tuned(model_uri=EMB, text="a"), f"Failed to get model {EMB}"),
        (Tuned(model_uri=TUNED), "text: text length is 0, which is outside the range (0, 100000]"),
        (few_shot("a", model_uri="cls"), "Failed to parse model URI"),
        (few_shot("a", task_description=""), "task_description: the field is required"),
        (few_shot("a", labels=[]), "labels: at least one label is required"),
        (few_shot(""), "text: text length is 0, which is outside the range (0, 100000]"),
        (few_shot("a", samples=[{"text": "b", "label": "c"}]), "samples[0].label: 'c' is not among the labels"),
        (few_shot("a", samples=[{"label": "bad"}]), "samples[0].text: text length is 0, which is outside"),
        (image("a", model_uri=""), "invalid model_uri"),
        (image(), "messages: at least one message is required"),
        (image("a", ""), "messages[1].text: the field is required"),
        (image("a" * 300, "b" * 201), "messages: text length is 501, which is outside the range (0, 500]"),
        (
            image("a", generation_options=Options(mime_type="image/png")),
            "mime_type must be image/jpeg, got 'image/png'",
        ),
        (image("a", generation_options=Options(seed=-1)), "seed must be 0 or greater, got -1"),
        (image("a", generation_options=Options(aspect_ratio=Ratio(width_ratio=1))), "ratios greater than 0, got 1:0"),
        (
            image("a", generation_options=Options(aspect_ratio=Ratio(width_ratio=-1, height_ratio=-1))),
            "ratios greater than 0, got -1:-1",
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused(service: Service, refused: Refused, request_: Any, message: str) -> None:
    method = {
        Embedding: service.embeddings.TextEmbedding,
        Tuned: service.classification.Classify,
        FewShot: service.classification.FewShotClassify,
        Image: service.images.Generate,
    }[type(request_)]
    refusal = refused(method, request_)
    assert refusal.code is INVALID
    assert message in refusal.message


def test_a_model_of_another_folder_is_refused(emulate: Emulate, refused: Refused) -> None:
    service = emulate(folder="b1gmine")
    refusal = refused(service.embeddings.TextEmbedding, embedding("a"))
    quoted = "Specified folder ID 'b1gfolder' does not match with service account folder ID 'b1gmine'"
    assert (refusal.code, refusal.message) == (INVALID, quoted)
    assert service.embeddings.TextEmbedding(embedding("a", model_uri="emb://b1gmine/text-search-doc"))
    shared = "cls://yc.fomo.storage.prod.service/yandexgpt-lite/rc@suffix"
    assert service.classification.Classify(Tuned(model_uri=shared, text="a"))
    assert refused(service.embeddings.TextEmbedding, embedding("a", model_uri="x")).message.startswith(
        "Failed to parse"
    )


def test_scripts_reach_the_neighbours(emulate: Emulate, refused: Refused) -> None:
    vector = _pb.embedding_service_pb2.TextEmbeddingResponse(embedding=[1, 0], num_tokens=1)
    label = _pb.text_classification_service_pb2.TextClassificationResponse(input_tokens=9)
    few = _pb.text_classification_service_pb2.FewShotTextClassificationResponse(input_tokens=8)
    drawn = _pb.image_generation_service_pb2.ImageGenerationResponse(image=b"x" * 6_000_000)
    failure = Failure(grpc.StatusCode.INTERNAL, "broken")
    pending = {f"p{number}": reply for number, reply in enumerate((vector, label, few, drawn))}
    # What can't answer a method is passed over: the text, and the others' responses, which match as well.
    replies = {"fail": failure, "p": "a text", **pending}
    service = emulate(replies=replies, duration=0)
    assert service.embeddings.TextEmbedding(embedding("p0 p1 p2 p3")) == vector
    assert service.classification.Classify(Tuned(model_uri=TUNED, text="p0 p1 p2 p3")) == label
    assert service.classification.FewShotClassify(few_shot("p0 p1 p2 p3")) == few
    assert len(service.embeddings.TextEmbedding(embedding("p")).embedding) == 256
    large = grpc.insecure_channel(service.emulator.address, [("grpc.max_receive_message_length", 64 * 1024 * 1024)])
    with large:
        operation = _pb.image_generation_service_pb2_grpc.ImageGenerationAsyncServiceStub(large).Generate(
            image("p0 p3")
        )
    assert len(operation.response.value) > 6_000_000, "as large as the scripted response"
    for method, request in (
        (service.embeddings.TextEmbedding, embedding("fail")),
        (service.classification.Classify, Tuned(model_uri=TUNED, text="fail")),
        (service.classification.FewShotClassify, few_shot("fail")),
    ):
        refusal = refused(method, request)
        assert (refusal.code, refusal.message) == (grpc.StatusCode.INTERNAL, "broken")
    assert service.get(service.images.Generate(image("fail")).id).error.message == "broken"


def test_an_image_that_may_not_be_drawn_is_refused_at_submit(emulate: Emulate, refused: Refused) -> None:
    quoted = "it is not possible to generate an image from this request because it may violate the terms of use"
    service = emulate(replies={"weapon": Failure(INVALID, quoted)})
    refusal = refused(service.images.Generate, image("a weapon"))
    assert (refusal.code, refusal.message) == (INVALID, quoted)
    assert service.emulator.refusals[paths.IMAGE_GENERATE, INVALID] == 1
