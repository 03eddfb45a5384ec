"""Who traces, in OpenTelemetry's words."""

from opentelemetry.sdk.resources import SERVICE_NAME, Resource


def resource() -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say; without a name it is voicefleet."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "voicefleet"}))
    return found
