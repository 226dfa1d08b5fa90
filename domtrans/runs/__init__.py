"""The run folder: what it holds, how it is written, read, resumed, verified and described, and the trackers that are told
of it.
"""
