"""The command line: one module per command group, each a thin layer over the calls that ``import domtrans`` offers. Only
this package prints.
"""
