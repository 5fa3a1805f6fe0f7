"""What happens in one step: plan, forward, backward, optimiser?"""
