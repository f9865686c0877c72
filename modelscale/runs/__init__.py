"""The only code that writes under runs/."""
