"""The chart and the image in a real cluster; see README.md."""
