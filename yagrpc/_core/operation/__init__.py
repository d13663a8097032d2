"""What an operation is, what its end means, and who is notified of it."""
