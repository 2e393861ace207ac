"""The ground floor: errors, canonical JSON, hashes, files, clock, units, parameter spaces. Knows nothing above it."""
