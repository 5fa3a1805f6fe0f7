"""How does a training run start, stop, resume and end, and how is its checkpoint scored?"""
