"""What schemathesis does not know by itself: bundles are bytes, whatever is in them."""

import schemathesis

schemathesis.serializer.alias("application/gzip", "application/octet-stream")
