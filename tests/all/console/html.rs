//! Pages as text, and the links in them.

use super::site::Site;
use crate::support::http_client;

/// The text of a page.
pub async fn page(site: &Site, path: &str) -> String {
    let response = http_client()
        .get(site.url(path))
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.expect("text")
}

/// The links of a page that begin with this.
pub fn links(text: &str, begin: &str) -> Vec<String> {
    let rest = text.split("href=\"").skip(1);
    let links = rest.filter_map(|rest| rest.split('"').next());
    links
        .filter(|link| link.starts_with(begin))
        .map(|link| link.replace("&amp;", "&"))
        .collect()
}
