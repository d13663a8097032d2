"""What waits here, and how the exception of a signal ends a wait without harm."""
