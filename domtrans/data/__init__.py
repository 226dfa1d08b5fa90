"""Image sets in memory or in files: reading, decoding, rendering, batches, loaders and shards. It knows no networks."""
