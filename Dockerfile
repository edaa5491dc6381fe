# Built in one stage, run in another: the image has no build tools and no caches of ours.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# uv checks every hash of constraints.txt, its own included. The dependencies have a layer to
# themselves, so that an edit to agentd does not fetch them again.
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
# /app is its home, so that without NATS_URL the embedded server has a place for .agentd.
RUN useradd --uid 10001 --create-home --home-dir /app agentd
COPY --from=build /opt/agentd /opt/agentd
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
