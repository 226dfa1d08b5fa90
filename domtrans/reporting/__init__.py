"""Reports: run folders in, HTML page or chart out. Nothing here loads a model or computes a result."""
