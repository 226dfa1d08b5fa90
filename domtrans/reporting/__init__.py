"""Reports: run folders in, one HTML page or chart out. It loads no model and computes no result."""
