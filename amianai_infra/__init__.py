"""Put a web product on AWS and keep it there: one production stack, built with Pulumi."""
