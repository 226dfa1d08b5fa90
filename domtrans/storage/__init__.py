"""Files on disk: atomic writes, safetensors files, the cache, and its folder. It does not depend on images or networks."""
