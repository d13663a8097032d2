"""The quotas that calls are kept under before they are sent."""
