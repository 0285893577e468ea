"""Rules and immutable records shared across the package; knows neither an event loop nor the operating system."""
