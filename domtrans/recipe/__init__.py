"""Recipes as data: their schema, changes by path, and their files. Nothing is built here."""
