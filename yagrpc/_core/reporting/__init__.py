"""What is reported to the subscribers of a client: calls, waits and ends of operations; and the logs, one of them."""
