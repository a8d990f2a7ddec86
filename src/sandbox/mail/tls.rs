//! The mail server's certificate, and TLS with it.
//!
//! The key is public like everything here: it protects nothing but a trial on one machine.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// PEM, for `localhost` and `127.0.0.1`, valid until 2126.
pub const CERTIFICATE: &str = include_str!("localhost.pem");
const KEY: &str = include_str!("localhost-key.pem");

pub(super) type Encrypted = StreamOwned<ServerConnection, TcpStream>;

/// The server's side of TLS on `stream`; the handshake comes with the first byte.
pub(super) fn accept(stream: TcpStream) -> Result<Encrypted, rustls::Error> {
    let unreadable =
        |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).map_err(unreadable)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let connection = ServerConnection::new(Arc::new(config))?;
    Ok(StreamOwned::new(connection, stream))
}
