"""Digit domains: rendered house numbers, and MNIST, USPS and SVHN from local files or downloads."""
