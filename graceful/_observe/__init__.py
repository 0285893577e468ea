"""What is told and kept: the log, the terminal, the report."""
