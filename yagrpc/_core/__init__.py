"""Decisions without I/O: what to send, when, and what an answer means.

The two shells, `yagrpc._sync` and `yagrpc._aio`, carry these decisions out and decide nothing themselves.
"""
