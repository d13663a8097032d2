"""What commands read, print, and report."""
