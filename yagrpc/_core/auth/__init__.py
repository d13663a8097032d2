"""How calls are authorized: tokens, when they are renewed, and what is put into a call's metadata."""
