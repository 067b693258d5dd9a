# kerasdistill in a container: docs/how-to/install.md says how it is built and run.
FROM python:3.12-slim

COPY setup.py pyproject.toml README.md LICENSE /source/
COPY kerasdistill /source/kerasdistill
COPY pipelines /source/pipelines
COPY tuners /source/tuners
RUN pip install --no-cache-dir /source && rm -r /source

# Runs and data sets outlive the container in /work, which belongs to the user here.
RUN useradd --create-home --uid 1000 distiller \
    && mkdir /work && chown distiller:distiller /work
USER distiller
WORKDIR /work
VOLUME /work
ENV TFDS_DATA_DIR=/work/tensorflow_datasets

ENTRYPOINT ["kerasdistill"]
CMD ["--help"]
