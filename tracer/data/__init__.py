"""Sources of image-text pairs and labelled evaluation sets."""
