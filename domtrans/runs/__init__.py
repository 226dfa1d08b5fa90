"""The run folder and its files: write, read, resume, verify and describe a run, and pass it on to trackers."""
