"""The study ``faces``."""
