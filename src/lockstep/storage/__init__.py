"""What lies on disk below every room: segments, self-checking documents, locks, content-addressed blobs."""
