"""Rules and immutable records shared across the package; runs no event loop, and changes nothing of the process."""
