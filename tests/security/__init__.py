"""What a stranger's files could do to whoever opens them, and do not."""
