"""What a bucket can switch on: multipart uploads, object lock, lifecycle, named keys, notifications, logs."""
