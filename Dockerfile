# The image of a fleet. Two targets:
#   docker build --tag voicefleet:0.1.0 .                        the worker, without the lab
#   docker build --tag voicefleet:0.1.0-demo --target demo .     with it: caller and stand-ins
#
# The base, by tag or, for a build that can be repeated, by digest:
#   --build-arg PYTHON_IMAGE=python@sha256:<digest of 3.13-slim-trixie>
# 3.13: since then a forked process runs its atexit handlers, so a call's last spans are sent.
# Debian and not Alpine: LiveKit's and ONNX' wheels are linked with glibc.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# ---- what is installed, with the tools that install it
FROM ${PYTHON_IMAGE} AS dependencies
ARG UV_VERSION=0.13.8
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
RUN python -m venv /opt/tools && /opt/tools/bin/pip install --quiet uv==${UV_VERSION}
ENV PATH=/opt/tools/bin:$PATH
WORKDIR /source
# The lock and what it locks come before the code: a change of code installs nothing anew.
COPY pyproject.toml requirements.lock ./
COPY deploy/image/install deploy/image/install
RUN python -m venv --without-pip /opt/voicefleet && deploy/image/install /opt/voicefleet --extra mcp
RUN deploy/image/install /opt/tools --only hatchling
COPY README.md LICENSE ./
COPY worker worker

# ---- the worker alone
FROM dependencies AS worker
RUN rm -r worker/voicefleet/lab \
 && uv build --quiet --wheel --no-build-isolation --python /opt/tools/bin/python \
 && uv pip install --quiet --python /opt/voicefleet --no-deps dist/*.whl
# A derived image (deploy/image/derived.Dockerfile) has the packages of its agent in /opt/agent, after
# ours on the path, and resolves them against this list of ours.
RUN uv pip list --python /opt/voicefleet --format freeze >/opt/voicefleet/constraints.txt \
 && cd /opt/voicefleet/lib/python3*/site-packages \
 && pwd | sed 's,/voicefleet/,/agent/,' >agent.pth
# The weights of the turn detectors `english` and `multilingual` lie outside their wheel; LiveKit's
# own lies in it, and needs nothing from a hub. Loading each once is the test of this stage.
ARG VOICEFLEET_TURN_DETECTION=livekit
ENV HF_HOME=/opt/models
RUN mkdir -p "$HF_HOME" && /opt/voicefleet/bin/voicefleet models

# ---- the worker, with the lab
FROM dependencies AS lab
RUN deploy/image/install /opt/voicefleet --extra lab \
 && uv build --quiet --wheel --no-build-isolation --python /opt/tools/bin/python \
 && uv pip install --quiet --python /opt/voicefleet --no-deps dist/*.whl

# ---- the base of both images: no compiler, no pip, no login shell
FROM ${PYTHON_IMAGE} AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="voicefleet" \
      org.opencontainers.image.description="Hosts a LiveKit voice agent so that no call is lost" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# 65532 is the user of distroless images: over 10000, so it is no user of the node. /tmp is the only place
# that can be written where the root file system is read-only.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip* \
           /usr/lib/python3/dist-packages/pip* /usr/bin/pip* \
 && echo 'worker:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'worker:x:65532:' >> /etc/group \
 && mkdir /app /opt/agent
ENV PATH=/opt/voicefleet/bin:$PATH HOME=/tmp \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/opt/models HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
WORKDIR /app
USER 65532:65532
EXPOSE 8081
STOPSIGNAL SIGTERM
# Kubernetes has its own probes; this one is for whoever runs the image without it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/livez', timeout=4)"]
# No shell and no init before it: SIGTERM has to reach it, once.
ENTRYPOINT ["voicefleet"]

# ---- target demo: `call`, `demo` and the stand-ins; `helm test` runs it
FROM base AS demo
COPY --from=lab /opt/voicefleet /opt/voicefleet
CMD ["--help"]

# ---- target runtime, the default
FROM base AS runtime
COPY --from=worker /opt/voicefleet /opt/voicefleet
COPY --from=worker /opt/models /opt/models
# The user who runs must find the models where they are.
ARG VOICEFLEET_TURN_DETECTION=livekit
ENV VOICEFLEET_TURN_DETECTION=${VOICEFLEET_TURN_DETECTION}
RUN ["voicefleet", "models", "--verify"]
CMD ["start"]
