"""Studies: tables of experiments that are run one after another and compared with published values."""
