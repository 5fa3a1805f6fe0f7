"""What is the network trained to say, and what does an error cost?"""
