"""What the generator reads: proto files and descriptor sets, which may be anybody's, and their comments."""
