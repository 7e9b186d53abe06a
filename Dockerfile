# One image for every part: `gateway` (the default), `lb`, `loader run ...`.
# Other bases need Python 3.11 or later, and the same one in both; the first needs a C compiler too.
ARG BUILD_BASE=python:3.12
ARG BASE=python:3.12-slim

FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY aseclient aseclient
COPY aseloader aseloader
COPY asectl asectl
COPY atom atom
COPY config config
COPY deploy deploy
COPY examples examples
COPY gateway gateway
COPY lb lb
COPY registry registry
COPY rpc rpc
COPY schemas schemas
# Compiled: the build stage has the C compiler, the image needs none, nor pip or debug symbols.
RUN python3 -m venv --without-pip /venv \
    && ASE_COMPILE=1 python3 -m pip --python /venv/bin/python install --no-cache-dir '.[demo]' \
    && find /venv -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

FROM ${BASE}
RUN useradd --system --uid 10001 --no-create-home ase
COPY --from=build /venv /venv
WORKDIR /app
COPY examples examples
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The public port alone, for `docker run -p 8200:8200`: the loopback address of a container cannot be
# published. The lb port and the admin ports stay private until they are configured.
ENV ASE_GATEWAY_HOST=0.0.0.0
# Whoever reaches a published port may call, until your own /app/ase.yaml says who may, or
# -e ASE_AUTH_METHODS=key (docs/security.md). A file, since a variable would outrank yours.
RUN echo 'auth: none' > ase.yaml
USER 10001
EXPOSE 8200 8220
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["asectl", "healthcheck"]
ENTRYPOINT ["asectl"]
CMD ["gateway"]
