"""How are bytes at a URL read and written: folder, S3, web, zip archive, cache on a node?"""
