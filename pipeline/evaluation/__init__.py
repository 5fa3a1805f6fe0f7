"""Which people does a network find in a split, and how good are they?"""
