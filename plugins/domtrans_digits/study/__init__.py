"""The study ``digits``: its rows and its tables."""
