"""The demo: a local web page for trying a trained run with one's own images."""
