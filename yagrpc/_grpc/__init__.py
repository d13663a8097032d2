"""What both shells need of gRPC: channel options, deserializers, statuses, forks."""
