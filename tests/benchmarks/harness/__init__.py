"""What the command `bench` measures: problems, who runs them, and how their times are taken."""
