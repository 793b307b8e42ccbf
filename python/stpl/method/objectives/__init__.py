"""The ways of training without labels, one a file."""
