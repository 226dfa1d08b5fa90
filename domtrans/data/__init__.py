"""Images: sets of them in memory or in files, reading and decoding, rendering, batches, loaders and shards. It knows no
network.
"""
