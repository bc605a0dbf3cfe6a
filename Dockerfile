# The page (srgan-app) in a container; docs/deploy.md says how to run it.
#   docker build -t srgan_lit .                           computes on processors
#   docker build --build-arg TORCH=cu130 -t srgan_lit .   on NVIDIA's GPUs: any name that uv's --torch-backend takes
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt hatchling \
    && python -m hatchling build -t wheel -d /wheel

FROM python:${PYTHON}-slim
ARG TORCH=cpu
COPY constraints.txt /wheel/
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --constraint /wheel/constraints.txt uv \
    && uv pip install --system --no-cache --torch-backend "${TORCH}" --constraint /wheel/constraints.txt \
        "$(echo /wheel/*.whl)[app,heif]" \
    && install -d -o nobody -g nogroup -m 700 /data

USER nobody
VOLUME /data
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/health', timeout=10)"]
CMD ["srgan-app", "--host", "0.0.0.0", "--data-dir", "/data"]
