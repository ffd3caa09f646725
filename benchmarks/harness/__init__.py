"""What every benchmark shares: rows with targets, results with their machine, processes, streams and statistics."""
