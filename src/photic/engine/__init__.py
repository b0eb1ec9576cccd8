"""The training loop; the only part of Photic that imports Lightning."""
