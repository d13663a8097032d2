"""What calls of each service send and give, one module a service: its requests from a caller's values, its results.

Rules: pure functions; what they need of a client is given. Protos, `yagrpc.messages` and `yagrpc.results` are imported
by the first call that needs them, not with the client.
"""
