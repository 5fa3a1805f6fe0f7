"""What do people see of a running job: MLflow, progress, warnings, gauges?"""
