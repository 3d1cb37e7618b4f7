"""What can be said and done with a model's last linear maps alone, from one pass over the images."""
