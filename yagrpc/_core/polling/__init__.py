"""The poll scheduler: which operation is polled next, and when."""
