"""Everything worth knowing about a GPU in one command: `python -m benchmarks gpu --out DIR --minutes 6`.

`command` starts a worker process that does the parts of `parts` one after the other, each within its share of the
time, and rewrites DIR/gpu.json and DIR/gpu.md with every row that is measured. What a part does stands in the module
of its name, which has a `run(setup, limit, put)`.
"""
