"""The operating-system process: its signals, its forked children, its end; knows no event loop of its own."""
