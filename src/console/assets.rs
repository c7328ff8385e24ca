//! The style sheet, the script and the icon: in the binary, with a digest of their content in their names.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::store::hex;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

static ASSETS: [Asset; 3] = [
    Asset {
        name: "css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("console.css"),
    },
    Asset {
        name: "js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("console.js"),
    },
    Asset {
        name: "svg",
        media_type: "image/svg+xml",
        content: include_str!("icon.svg"),
    },
];

/// The paths of the style sheet, the script and the icon.
pub static PATHS: LazyLock<[String; 3]> = LazyLock::new(|| {
    ASSETS.each_ref().map(|asset| {
        let digest = hex(&Sha256::digest(asset.content));
        format!("/assets/console.{}.{}", &digest[..16], asset.name)
    })
});

/// Serves the style sheet under a name that does not change, for the sign-in.
pub async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, ASSETS[0].media_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, ASSETS[0].content).into_response()
}

/// Serves an asset. Its name changes with its content, so browsers keep it for a year.
pub async fn show(Path(file): Path<String>) -> Response {
    let asked = format!("/assets/{file}");
    let Some(place) = PATHS.iter().position(|path| *path == asked) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let asset = &ASSETS[place];
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_are_small() {
        let bytes: usize = ASSETS.iter().take(2).map(|asset| asset.content.len()).sum();
        assert!(bytes < 40_000, "{bytes} bytes");
    }
}
