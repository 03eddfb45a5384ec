def bench() -> None:
    """stub"""
