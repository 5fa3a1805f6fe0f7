"""How does a drawn data set come about: people and hands whose keypoints are known, with no download?"""
