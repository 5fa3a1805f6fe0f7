"""In which order and in which form do images reach the network?"""
