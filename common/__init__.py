"""What a hospital and the coordinator must agree on: data, networks, losses, metrics, messages."""
