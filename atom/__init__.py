"""HTTP/JSON to ASE frames and back, and the carrying of frames to loaders."""
