"""The use cases, one file each; start with `train`."""
