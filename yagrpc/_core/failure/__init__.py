"""What a failure means: its cause, whether a call is sent again, and what to do about it."""
