"""How does a training run start, stop, resume and end?"""
