"""HTTP/JSON of gRPC methods by their `google.api.http` rules: which rpc a request calls, and what JSON goes in and out.

    router = Router(TextGenerationAsyncService.Completion, OperationService.Get)
    found = router.find("GET", "/operations/d7q...")
    request = read_request(found, query="", body=b"")    # a GetOperationRequest
    ...
    to_json(operation)                                   # {"id": "d7q...", "done": False, "metadata": None, ...}

Rules: no I/O, and no web framework: `yagrpc.emulator` serves HTTP with it. Of this project it imports the generated
messages and the method tables only.

- `templates.py`: path templates, such as `/operations/{operation_id}:cancel`;
- `routing.py`: which method a verb and a path call;
- `requests.py`: path, query and body become a message;
- `answers.py`: messages and statuses become JSON, in the service's form.
"""

from __future__ import annotations

from yagrpc.rest.answers import HTTP_STATUS, error_object, status_object, to_json
from yagrpc.rest.requests import BadRequest, read_message, read_request
from yagrpc.rest.routing import Found, Router, WrongVerb

__all__ = [
    "HTTP_STATUS",
    "BadRequest",
    "Found",
    "Router",
    "WrongVerb",
    "error_object",
    "read_message",
    "read_request",
    "status_object",
    "to_json",
]
