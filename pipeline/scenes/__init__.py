"""How does a drawn data set come about: people whose keypoints are known, with no download?"""
