"""From a name, a file or a folder to a CLIP with its weights."""
