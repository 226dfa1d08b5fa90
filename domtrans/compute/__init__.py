"""The hardware: device, precision, random seeds, memory, several processes, compilation, and faster CPU convolutions. It
does not depend on data, recipes or losses.
"""
