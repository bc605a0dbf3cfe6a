"""What happens beside the training's steps, one callback a file."""
