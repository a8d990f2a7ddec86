//! Style, script and icons, embedded in the binary.
//!
//! An asset's address carries a piece of its content's SHA-256, so a browser may keep it for ever
//! and a new version is a new address.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::token;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Embedded;

/// One file of `assets/`.
struct Asset {
    name: String,
    hashed_name: String,
    content_type: &'static str,
    content: Bytes,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    Embedded::iter()
        .filter_map(|name| Some(asset(&name, Embedded::get(&name)?)))
        .collect()
});

fn asset(name: &str, file: rust_embed::EmbeddedFile) -> Asset {
    let digest = file.metadata.sha256_hash();
    let hash = token::hex(&digest[..6]);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    Asset {
        name: name.to_owned(),
        hashed_name: format!("{stem}.{hash}.{extension}"),
        content_type: content_type(extension),
        content: Bytes::from(file.data.into_owned()),
    }
}

fn content_type(extension: &str) -> &'static str {
    match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// The address of `assets/{name}`, with its hash. A name that does not exist gets an address that
/// answers 404; a test holds the pages to the names that do.
pub fn url(name: &str) -> String {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    let file = found.map_or(name, |asset| &asset.hashed_name);
    format!("/assets/{file}")
}

/// Serves the assets; the application adds this once for all features.
pub fn routes() -> Router {
    Router::new().route("/assets/{file}", get(serve))
}

async fn serve(Path(file): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.hashed_name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.content.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::extract::Path;
    use axum::http::{StatusCode, header};

    use super::{ASSETS, serve, url};

    #[tokio::test]
    async fn an_asset_is_served_under_its_hashed_name_for_ever() {
        let address = url("tollhouse.css");
        let file = address.strip_prefix("/assets/").unwrap().to_owned();
        assert_ne!(file, "tollhouse.css");
        let response = serve(Path(file)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/css; charset=utf-8");
        assert!(
            headers[header::CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
    }

    #[tokio::test]
    async fn the_plain_name_is_not_an_address() {
        let response = serve(Path("tollhouse.css".to_owned())).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn every_asset_has_a_type_that_browsers_accept_with_nosniff() {
        for asset in ASSETS.iter() {
            assert_ne!(
                asset.content_type, "application/octet-stream",
                "{}",
                asset.name
            );
        }
    }
}
