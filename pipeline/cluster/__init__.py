"""Who works with whom: joining Ray, ranks, leases, requests to stop, room for workers?"""
