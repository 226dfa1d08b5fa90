"""Domains of faces: drawn avatars and portraits, and photographs of people."""
