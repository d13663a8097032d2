"""Decisions without I/O: what to send, when, and what an answer means.

The two shells, `yagrpc._sync` and `yagrpc._aio`, do what is decided here and decide nothing themselves.
"""
