"""Studies: tables of experiments, run one after another and compared with published numbers."""
