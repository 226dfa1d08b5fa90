"""Trained runs that come with domtrans, one folder each, and how the name of a run becomes a folder on this machine."""
