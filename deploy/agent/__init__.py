"""What is done on a host, for as long as one request takes: nothing of it stays there as a process."""
