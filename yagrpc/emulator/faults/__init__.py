"""Scripted faults: their schema, the classes that build them, and how they are applied to calls."""
