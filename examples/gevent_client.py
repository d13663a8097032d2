"""yagrpc where gevent has patched threads, as under `gunicorn --worker-class gevent`: one greenlet for each text.

    pip install gevent
    YAGRPC_EMULATOR_HOST=127.0.0.1:50050 python examples/gevent_client.py

gRPC has to be prepared, after `patch_all` and before a client is created. `AsyncClient` does not work here.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import grpc.experimental.gevent

grpc.experimental.gevent.init_gevent()

import gevent

import yagrpc
from misspelt import INSTRUCTION, PARAGRAPH, SENTENCE


def main() -> None:
    texts = [SENTENCE, PARAGRAPH]
    with yagrpc.Client() as client:
        submits = [gevent.spawn(client.completion_async, text, system=INSTRUCTION) for text in texts]
        completions = [gevent.spawn(client.completion, text, system=INSTRUCTION) for text in texts]
        for chunk in client.completion_stream(SENTENCE, system=INSTRUCTION):
            print("streamed:", chunk.text)
        for completion in completions:
            print("answered:", completion.get().text)
        for operation in yagrpc.as_completed([submit.get() for submit in submits]):
            print("deferred:", operation.result().text)
    print("closed")


if __name__ == "__main__":
    main()
