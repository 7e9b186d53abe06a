"""Running the product elsewhere: files for other programs, rendered from ours."""
