"""Plain transcriptions of specifications: what the fast versions are timed against and must equal."""
