"""The blocking shell, over `grpc.Channel`."""
