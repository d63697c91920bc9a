"""What may be handed on: sets of synthetic images, and generators with what is needed to load them."""
