"""What a run says, gathered once as values: one file per subject."""
