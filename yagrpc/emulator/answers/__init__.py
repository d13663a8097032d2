"""What the emulator answers with: tokens, texts, instances of schemas, vectors, labels, images. All of it is pure."""
