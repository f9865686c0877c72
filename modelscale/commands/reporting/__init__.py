"""The parts of a report: from what a run left on disk to sections of a page."""
