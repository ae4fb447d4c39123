//! The listeners, and the tasks that run beside them.

use super::Addresses;
use super::build::Stages;
use super::error::StartError;
use super::handlers::OtlpExportHandler;
use crate::auth::Auth;
use crate::clock::now;
use crate::config::Config;
use crate::expose::{self, Rest};
use crate::net::{ByteBudget, ConnectionLimits, Workers, raise_open_file_limit};
use crate::receive;
use crate::store;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The ports, bound and not yet served.
pub(super) struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
    rest: TcpListener,
    connections: ConnectionLimits,
    workers: Arc<Workers>,
}

impl Listeners {
    /// Binds the ports, when the process may open as many files as it can.
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let streams = config.expose.stream.max_streams;
        let connections = raise_open_file_limit(ConnectionLimits {
            otlp: config.receive.max_connections,
            rest: config.expose.max_connections.saturating_add(streams),
        });
        // A live stream gives its place back to other connections, and keeps its file.
        let rest = connections.rest - streams.min(connections.rest / 2);
        let connections = ConnectionLimits { rest, ..connections };
        Ok(Self {
            grpc: listen("receive.grpc", &config.receive.grpc).await?,
            http: listen("receive.http", &config.receive.http).await?,
            rest: listen("expose.rest", &config.expose.rest).await?,
            connections,
            workers: Workers::start().map_err(StartError::Workers)?,
        })
    }

    /// Where they listen, also when the system chose the port.
    pub(super) fn addresses(&self, config: &Config) -> Result<Addresses, StartError> {
        Ok(Addresses {
            grpc: address("receive.grpc", &config.receive.grpc, &self.grpc)?,
            http: address("receive.http", &config.receive.http, &self.http)?,
            rest: address("expose.rest", &config.expose.rest, &self.rest)?,
        })
    }
}

impl Stages {
    /// Starts the listeners and the maintenance of the store; each ends when `stopped` says so.
    pub(super) fn serve(
        &self,
        config: &Config,
        auth: &Arc<Auth>,
        listeners: Listeners,
        rest: watch::Receiver<Arc<Rest>>,
        stopped: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let otlp = Arc::new(OtlpExportHandler {
            normalizer: self.normalizer.clone(),
            log: self.log.clone(),
            status: self.status(),
        });
        let otlp_auth = config.auth.otlp.then(|| auth.clone());
        let budget = ByteBudget::new(config.receive.max_in_flight_bytes);
        let ConnectionLimits { otlp: max_connections, rest: most_of_rest } = listeners.connections;
        let receive = Arc::new(receive::ReceiveConfig { max_connections, ..config.receive.clone() });
        let over_grpc = {
            let (receive, budget, otlp, auth) = (receive.clone(), budget.clone(), otlp.clone(), otlp_auth.clone());
            let workers = listeners.workers.clone();
            let stop = until(stopped);
            async move { receive::serve_grpc(listeners.grpc, &receive, budget, workers, otlp, auth, stop).await }
        };
        let stop = until(stopped);
        let workers = listeners.workers;
        let over_http =
            async move { receive::serve_http(listeners.http, &receive, budget, workers, otlp, otlp_auth, stop).await };
        let stop = until(stopped);
        let over_rest = async move { expose::serve(listeners.rest, most_of_rest, rest, stop).await };
        let maintenance = store::maintain_regularly(self.store.clone(), now, until(stopped));
        vec![tokio::spawn(over_grpc), tokio::spawn(over_http), tokio::spawn(over_rest), tokio::spawn(maintenance)]
    }
}

/// Resolves when `stopped` says so, or nobody can say so any more.
fn until(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stopped.clone();
    async move {
        // An error means that the service is gone, which is a stop too.
        let _ = stopped.wait_for(|stop| *stop).await;
    }
}

async fn listen(key: &'static str, to: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(to).await.map_err(|source| listen_error(key, to, source))
}

pub(super) fn listen_error(key: &'static str, to: &str, source: std::io::Error) -> StartError {
    StartError::Listen { key, address: to.to_owned(), source }
}

fn address(key: &'static str, to: &str, listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| listen_error(key, to, source))
}
