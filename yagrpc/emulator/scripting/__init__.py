"""What a user scripts: replies, script files, recordings."""
