"""The door for Git LFS at `/lfs/BUCKET/REPO`: the batch API with the basic transfer, and the File Locking API."""
