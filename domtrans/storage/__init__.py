"""Files on disk: atomic writes, safetensors files, the cache, and the paths of both. It knows nothing of images or
networks.
"""
