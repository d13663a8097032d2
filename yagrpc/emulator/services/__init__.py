"""The servicers, a file for each service.

Rules: a servicer checks the request, asks the cloud, and answers; it keeps nothing. Method names are those of the
protos.
"""
