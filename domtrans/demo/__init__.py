"""The demo: a local web page on which a person tries a trained run."""
