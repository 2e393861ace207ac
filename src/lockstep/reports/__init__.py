"""Pages and figures from plain values. See README.md."""
