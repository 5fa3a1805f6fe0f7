"""How is a training state kept, found again and turned back into a network?"""
