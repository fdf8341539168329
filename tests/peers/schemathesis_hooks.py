"""What schemathesis sends where the description wants session descriptions: any text."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def description(context, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
