"""The servicers, a file for each service: they check a request, ask the cloud, and answer."""
