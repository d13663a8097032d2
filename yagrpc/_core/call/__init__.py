"""What one call is: its request, its metadata, its parameters, and the facts about its rpc."""
