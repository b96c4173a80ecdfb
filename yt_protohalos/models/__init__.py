"""Model cards, bundled weights and the limits within which a model may be trusted."""
