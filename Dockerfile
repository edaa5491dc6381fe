# Two stages: the final image contains neither build tools nor caches.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# uv checks every hash of constraints.txt; pip checks that of uv. The dependencies are a separate
# layer, so that an edit of agentd does not download them again.
RUN sed -n '/^uv==/,/[^\\]$/p' constraints.txt > uv.txt \
    && python -m pip install --no-cache-dir --require-hashes --requirement uv.txt \
    && uv venv --python python3.13 /opt/agentd \
    && uv pip install --python /opt/agentd --no-cache --compile-bytecode \
        --constraints constraints.txt --requirements pyproject.toml
COPY README.md ./
COPY agentd agentd
RUN uv pip install --python /opt/agentd --no-cache --compile-bytecode \
        --no-deps --build-constraints constraints.txt .

FROM python:3.13-slim
# The home /app is writable: without NATS_URL, the embedded server creates .agentd there.
RUN useradd --uid 10001 --create-home --home-dir /app agentd
COPY --from=build /opt/agentd /opt/agentd
# Others can reach this address: it has only health and metrics until AGENTD_KEYS names a file of keys.
ENV PATH=/opt/agentd/bin:$PATH \
    AGENTD_HTTP=0.0.0.0:8000
WORKDIR /app
COPY docker/healthcheck.py /opt/agentd/
COPY manifests manifests
COPY prompts prompts
COPY tools tools
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "/opt/agentd/healthcheck.py"]
ENTRYPOINT ["agentd"]
CMD ["up", "manifests/"]
