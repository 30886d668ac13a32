# The image of lossd: what deploy/install-deps.sh and the release preset make, on Debian slim.
FROM debian:bookworm-slim AS build
WORKDIR /lossd
# By itself, so that a change of the sources does not install the packages again.
COPY deploy/install-deps.sh deploy/
RUN deploy/install-deps.sh build
COPY . .
RUN cmake --preset release -DLOSSD_BUILD_TESTS=OFF \
 && cmake --build --preset release --target lossd_server_bin lossctl

FROM debian:bookworm-slim
COPY deploy/install-deps.sh /tmp/
RUN /tmp/install-deps.sh runtime && rm -rf /var/lib/apt/lists/* /tmp/install-deps.sh \
 && useradd --system --no-create-home --shell /usr/sbin/nologin lossd
COPY --from=build /lossd/build/release/bin/lossd /lossd/build/release/bin/lossctl /usr/local/bin/
COPY LICENSE /usr/share/doc/lossd/
USER lossd
EXPOSE 50051 9464
# Further options go after the image's name, or into LOSSD_* variables.
ENTRYPOINT ["lossd", "--listen", "0.0.0.0:50051", "--metrics-listen", "0.0.0.0:9464"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["lossctl", "health", "--server", "127.0.0.1:50051"]
