"""Recipes as data: their schema, changes to them by path, and the files that hold them. It builds nothing."""
