"""Face domains: drawn avatars and portraits, and photographs of people."""
