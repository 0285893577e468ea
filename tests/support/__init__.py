"""What the tests share: programs, event loops, virtual time, and hooks and apps to try things with."""
