"""In which forms do data sets come, and how is each read as records in COCO's form?"""
