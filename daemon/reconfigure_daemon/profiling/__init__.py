"""Where a configuration's time goes, from the traces of torch's profiler. Pure, but for reading files and drawing."""
