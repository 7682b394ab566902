"""What is different where actors live on a cluster of Ray. All else is in the common suite."""
