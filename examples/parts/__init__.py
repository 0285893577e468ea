"""The modules that 06_include.py includes."""
