"""What a distillation set holds: stores, targets, and how they lie on disk."""
