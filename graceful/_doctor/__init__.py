"""A door: `python -m graceful doctor`, which stops a program in many ways and says what is wrong. Linux only."""
