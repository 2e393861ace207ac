"""`kind = "classifier"`: supervised training on labelled samples, through PyTorch or Keras."""
