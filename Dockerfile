# The image itself was not built (docs/install.md). Its RUN lines are what CI runs on a clean
# checkout. The default has CUDA; without a GPU see requirements/cpu.txt.
FROM python:3.11-bookworm
WORKDIR /mmx
COPY . .
RUN make test
RUN make slow
RUN make lint
RUN make demo
ENV PATH="/mmx/.venv/bin:$PATH"
ENTRYPOINT ["mmx"]
