"""What can be made to go wrong: rules, and how they are applied to calls."""
