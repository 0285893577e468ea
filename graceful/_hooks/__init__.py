"""From a decorator to an outcome: what a hook is, in which order hooks run, and how each is run within its time."""
