"""How a fine-tuned model is judged: zero-shot accuracy, calibration, reports, intervals over seeds, what changed where."""
