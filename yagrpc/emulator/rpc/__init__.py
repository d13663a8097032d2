"""What every call passes before its servicer, and what the server offers besides the emulated services."""
