# The product: operator, gateway and runner in one image; a pod's command says which.
#
# BASE_IMAGE needs python3 >= 3.11 with `venv`. Where there is no registry, `hack/cluster image` gives a base of its own.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# Dependencies: a layer of their own, made again only when requirements/runtime.txt changes.
FROM ${BASE_IMAGE} AS dependencies
COPY requirements/runtime.txt /build/requirements/runtime.txt
RUN python3 -m venv /opt/agentsessions \
 && /opt/agentsessions/bin/pip install --no-compile --require-hashes -r /build/requirements/runtime.txt \
 && /opt/agentsessions/bin/pip uninstall --yes --quiet setuptools pip \
 && /opt/agentsessions/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/agentsessions/lib

# The build tool, apart from what is shipped.
FROM ${BASE_IMAGE} AS builder
RUN python3 -m venv /build/venv \
 && printf '%s' 'setuptools==80.9.0 --hash=sha256:062d34222ad13e0cc312a4c02d73f059e86a4acbfbdea8f8f76b28c99f306922' > /build/build.txt \
 && /build/venv/bin/pip install --no-compile --require-hashes -r /build/build.txt
COPY pyproject.toml README.md LICENSE* /build/source/
COPY operator /build/source/operator
# Files keep the place they have in the final venv; the scripts' first line names its interpreter.
RUN cd /build/source \
 && /build/venv/bin/pip install --no-compile --no-deps --no-index --no-build-isolation --prefix /build/out . \
 && rm /build/out/bin/agentsession /build/out/bin/kubectl* \
 && sed -i '1s|.*|#!/opt/agentsessions/bin/python3|' /build/out/bin/agentsessions-* \
 && /build/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -s /build/out -p /opt/agentsessions /build/out/lib

FROM ${BASE_IMAGE}
COPY --from=dependencies /opt/agentsessions /opt/agentsessions
COPY --from=builder /build/out /opt/agentsessions
# Root is read-only in the pods: byte code is complete, and nothing is written beside it. There are no plugins of
# pydantic, and to look for them takes each start 20 ms.
ENV PATH=/opt/agentsessions/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYDANTIC_DISABLE_PLUGINS=__all__
WORKDIR /
USER 65532:65532
