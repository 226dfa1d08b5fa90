"""The study ``faces``: its rows and its tables."""
