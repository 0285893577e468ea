"""`python -m graceful plan`: the shutdown of an app on paper, and whether the files that deploy it leave it the time."""
