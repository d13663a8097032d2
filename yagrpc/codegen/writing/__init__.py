"""What the generator writes: the texts of a package's modules."""
