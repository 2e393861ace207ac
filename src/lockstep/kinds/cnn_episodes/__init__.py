"""`kind = "cnn-episodes"`: a network with three heads on the profitable episodes of a book."""
