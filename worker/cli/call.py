def call() -> None:
    """stub"""
