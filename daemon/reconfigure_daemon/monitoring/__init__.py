"""Request records and iteration totals become workload windows."""
