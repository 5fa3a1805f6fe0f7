"""How good are the people that were found? OKS, AP and AR as COCO counts them, and what went wrong."""
