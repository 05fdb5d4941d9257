"""AWS's services STS and IAM, which SDKs and tools speak in the Query protocol, over the cluster's accounts."""
