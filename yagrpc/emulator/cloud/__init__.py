"""What the emulated cloud keeps: credentials, quotas, operations.

Rules: no clock, `now` is given; no I/O but into the state file.
"""
