"""The parts of 06_include.py."""
