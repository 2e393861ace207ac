"""`kind = "cnn"`: a network with three heads on windows of one market."""
