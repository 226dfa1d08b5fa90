"""A trained transfer applied to files: images, folders, animations and videos in, the same out."""
