"""The embedded world: glyphs with captions, digits as the task, and a small CLIP pretrained on them."""
