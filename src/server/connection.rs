//! Connections: accepted up to a limit, each with its limits, all closed in the end.

use super::{END, app::App};
use crate::error::Result;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{future::Future, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

/// The most headers of a request.
const MAX_HEADERS: usize = 100;
/// Before accepting is tried again after it failed, for instance for lack of file descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// Bytes that the system holds for a client that does not read: what is beyond them stops that client's request, rather
/// than filling megabytes for each.
const SEND_BUFFER: u32 = 128 << 10;
/// Connections that the system holds for us until they are accepted.
const BACKLOG: u32 = 1024;

/// Listens on the first of the name's addresses that can be listened on.
pub(super) async fn listen(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let mut failed = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        let open = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // elsewhere it would let two programs listen on one port
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.set_send_buffer_size(SEND_BUFFER)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        match open() {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Accepts connections until `life` completes, and closes them all then: first those that are idle, and after a while
/// those that are not.
pub(super) async fn accept(
    listener: &TcpListener,
    router: &Router,
    app: &Arc<App>,
    life: impl Future<Output = Result<()>>,
) -> Result<()> {
    let mut life = pin!(life);
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let closing = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let result = loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        tokio::select! {
            result = &mut life => break result,
            // those that have ended are forgotten
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (router, app, closing) = (router.clone(), Arc::clone(app), closing.subscribe());
                    connections.spawn(async move {
                        let _connected = app.metrics.connected();
                        serve(stream, router, &app, closing).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(RETRY).await;
                }
            },
        }
    };
    closing.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(END, ended).await;
    connections.shutdown().await;
    result
}

async fn serve(stream: TcpStream, router: Router, app: &App, mut closing: watch::Receiver<bool>) {
    let options = &app.options;
    // tokens are small, and each is wanted at once
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(options.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.max_header_bytes)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let told = async {
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = told => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection: {error}");
    }
}
