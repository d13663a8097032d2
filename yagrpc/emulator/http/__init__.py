"""The emulator over HTTP: REST for every method that it serves, and a page that shows and controls it.

Needs the extra `rest`. Rules: a REST call passes the same pipeline as a gRPC call, so that validation, faults, quotas,
counters and recordings are the same; how HTTP becomes a message and back is in `yagrpc.rest`.
"""
