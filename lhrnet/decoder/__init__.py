"""How do heatmaps and tags become people?"""
