"""Faults, kills and hostile inputs for a given time: `python -m benchmarks soak --minutes 20 --seed 1`.

Three parts, each for a third of the time, on a small drawn set in a folder of its own:

- `faults`: a proxy between the program and a real object store and MLflow garbles, cuts, delays and loses answers;
- `kills`: commands are killed at random moments and given again, which must come to the end they come to undisturbed;
- `fuzz`: readers of files get changed ones, which they take or refuse, soon and in little memory.
"""
