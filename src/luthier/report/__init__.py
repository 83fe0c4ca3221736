"""A run folder as one page that can be read anywhere: HTML without a network, a script library or an image."""

from luthier.report.page import write_report

__all__ = ["write_report"]
