"""How does a COCO data set become shards on an object store?"""
