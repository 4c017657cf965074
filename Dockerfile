# The service as an image:
#   docker build -t hpcwaas .
#   docker run -p 9090:9090 -v ./hpcwaas-api.yaml:/etc/hpcwaas-api/hpcwaas-api.yml:ro -v hpcwaas-data:/data hpcwaas
# The file needs an `auth` section: without one the service is in local mode and listens inside the container only.
# Bring the database up to date before the first start and after an upgrade: the same with `hpcwaas-api db upgrade` at
# the end.

FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/hpcwaas \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && /opt/hpcwaas/bin/pip install --no-cache-dir --constraint constraints.txt "$(echo /dist/hpcwaas-*.whl)[cwl]"

FROM python:3.13-slim
# The supervisors of executions are detached from the service: somebody (tini) has to be their parent when they end.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin hpcwaas \
    && install --directory --owner hpcwaas --group hpcwaas --mode 0700 /data
COPY --from=build /opt/hpcwaas /opt/hpcwaas
ENV PATH=/opt/hpcwaas/bin:$PATH \
    HWA_DATA_DIR=/data \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 9090
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/health/live', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["hpcwaas-api"]
