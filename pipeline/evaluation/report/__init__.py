"""What does a network get right and wrong, as a page to look at?"""
