"""The control service, and its client for tests in Python."""
