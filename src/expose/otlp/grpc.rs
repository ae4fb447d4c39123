//! OTLP over gRPC with messages that are bytes already: nothing is encoded twice, whoever sends.

use super::Compression;
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// One connection to an OTLP/gRPC receiver of metrics; it connects by itself, and again when it breaks.
#[derive(Clone)]
pub struct GrpcClient {
    inner: Grpc<Channel>,
    metadata: MetadataMap,
}

impl GrpcClient {
    /// A client for `endpoint` (`http://host:port`, `https://` with TLS); `metadata` goes with each request.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn new(
        endpoint: &str,
        compression: Compression,
        metadata: MetadataMap,
        timeout: Duration,
    ) -> Result<Self, tonic::transport::Error> {
        let mut to = Endpoint::from_shared(endpoint.to_owned())?
            .timeout(timeout)
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        if endpoint.starts_with("https://") {
            to = to.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        let inner = Grpc::new(to.connect_lazy());
        let inner = match compression {
            Compression::None => inner,
            Compression::Gzip => inner.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => inner.send_compressed(CompressionEncoding::Zstd),
        };
        // Answers are small, so that it is worth understanding every encoding rather than asking for none.
        let inner = inner.accept_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Zstd);
        Ok(Self { inner, metadata })
    }

    /// Sends an encoded `ExportMetricsServiceRequest`; gives the encoded answer.
    ///
    /// # Errors
    /// The receiver's status, or `UNAVAILABLE` when there is no connection.
    pub async fn export(&mut self, message: Bytes) -> Result<Bytes, Status> {
        self.inner.ready().await.map_err(|error| Status::unavailable(format!("no connection: {error}")))?;
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        let answer = self.inner.unary(request, PathAndQuery::from_static(EXPORT), BytesCodec).await?;
        Ok(answer.into_inner())
    }
}

/// Messages pass as they are.
#[derive(Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
