"""How a fine-tuned model is judged: zero-shot accuracy, calibration, teacher-student gaps, weight interpolation."""
