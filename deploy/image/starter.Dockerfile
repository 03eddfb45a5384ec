# What LiveKit's starter for Python installs, built as its own Dockerfile does (two stages; uv and the
# development tools stay in), on the base of our image: for comparing sizes. Its turn detector's
# weights, which its build downloads, are left out.
ARG PYTHON_IMAGE=python:3.13-slim-trixie
FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
RUN pip install --quiet --no-cache-dir uv

FROM base AS build
WORKDIR /app
RUN uv venv --quiet \
 && uv pip install --quiet "livekit-agents[silero,turn-detector]~=1.5" \
    "livekit-plugins-ai-coustics~=0.2" python-dotenv pytest pytest-asyncio ruff

FROM base
COPY --from=build /app /app
WORKDIR /app
CMD ["uv", "run", "src/agent.py", "start"]
