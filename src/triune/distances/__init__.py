"""How far apart two embeddings are."""
