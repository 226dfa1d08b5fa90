"""The machine: device, precision, random seeds, memory, several processes, compilation, and fast CPU convolutions. It
knows nothing of images, recipes or losses.
"""
