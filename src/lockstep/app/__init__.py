"""Use cases, one file each; they read like a story and know no adapter."""
