"""The app, one file for each part that it plays."""
