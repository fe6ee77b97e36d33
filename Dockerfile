# The one image of kagenti: `kagenti` with its locked dependencies, for `kagenti webhook` and what follows it.
# The interpreter is the version that the tests run on.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY requirements/build.txt requirements/run.txt requirements/
# First what changes seldom: both layers are kept until a lock file changes.
RUN python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.txt
RUN python -m venv /opt/kagenti && /opt/kagenti/bin/pip install --no-cache-dir --require-hashes --requirement requirements/run.txt
COPY pyproject.toml README.md ./
COPY scripts/build_hook.py scripts/
COPY generated/crds generated/crds
COPY api api
COPY src src
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir /wheel . \
 && /opt/kagenti/bin/pip install --no-cache-dir --no-deps --no-index /wheel/*.whl \
 && /opt/kagenti/bin/pip check \
 && /opt/kagenti/bin/pip uninstall --yes pip setuptools

FROM python:${PYTHON}-slim
COPY --from=build /opt/kagenti /opt/kagenti
ENV PATH=/opt/kagenti/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Nobody: the chart says the same, and a read-only root file system.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/opt/kagenti/bin/kagenti"]
CMD ["--help"]
