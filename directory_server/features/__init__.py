"""Features of buckets: uploads, object lock, lifecycle, named keys, notifications, logs."""
