# The image of an agent that needs packages which voicefleet's image has not. In the agent's folder:
#   docker build --file derived.Dockerfile --build-arg BASE=your/voicefleet:0.1.0 --tag your/agent:1 .
# Its requirements.txt names the packages; where the folder is a package itself, it is one line: `.`
# docs/your-own-image.md explains each step.
ARG BASE=voicefleet:0.1.0

# ---- installs what the base lacks; nothing else of this stage is kept
FROM ${BASE} AS packages
USER root
RUN python -m venv /opt/tools && /opt/tools/bin/pip install --quiet --no-cache-dir uv==0.13.8
ENV PATH=/opt/tools/bin:$PATH UV_PYTHON=/opt/voicefleet UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /build
COPY . .
RUN uv pip compile --quiet --no-header --no-annotate --output-file /tmp/wanted.txt \
      --constraint /opt/voicefleet/constraints.txt requirements.txt \
 && { grep -vxFf /opt/voicefleet/constraints.txt /tmp/wanted.txt >/tmp/lacking.txt || true; } \
 && uv pip install --no-deps --compile-bytecode --prefix /opt/agent --requirement /tmp/lacking.txt

# ---- the base as it is, and one folder more
FROM ${BASE}
COPY --from=packages /opt/agent /opt/agent
ENV VOICEFLEET_AGENT=receptionist.agent
