"""What is measured and how: processes, loads, rounds, and what is made of them."""
