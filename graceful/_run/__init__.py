"""One run of an app: who owns the loop and the process, what happens in which order, and how it ends."""
