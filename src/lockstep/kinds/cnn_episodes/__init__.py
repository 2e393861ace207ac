"""`kind = "cnn-episodes"`: the same network on profitable episodes."""
