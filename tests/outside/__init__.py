"""Layers, an optimizer and a rule written from outside the package: one file each, public names only."""
