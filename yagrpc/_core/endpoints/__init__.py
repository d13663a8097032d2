"""Where services are served."""
