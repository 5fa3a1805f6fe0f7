"""How are people found in photos and films outside the pipeline: predict, export, page?"""
