"""From YAML text to typed, frozen specs with the place of every fault. No torch, no numpy."""
