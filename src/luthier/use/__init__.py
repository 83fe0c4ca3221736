"""A finished run, opened: spoken with, and measured on other rows."""
