//! A worker without a console.

use crate::support::http_client;
use crate::support::tenure::Tenure;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_console_pages_are_unknown_paths_and_the_api_works() {
    let started = tokio::task::spawn_blocking(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let worker = Tenure::new(folder.path(), &[("TENURE_HTTP__CONSOLE", "false")]).run();
        let (status, answer) = worker.add_client("shop-1");
        assert!(status < 300, "{answer}");
        (folder, worker)
    });
    let (_folder, worker) = started.await.expect("a worker");
    let get = async |path: &str| {
        let url = format!("http://{}{path}", worker.address);
        let request = http_client().get(url).header("accept", "text/html");
        let response = request.send().await.expect("a response");
        let status = response.status().as_u16();
        (status, response.text().await.expect("text"))
    };
    for path in [
        "/",
        "/clients",
        "/clients/acme/shop-1",
        "/sign-in",
        "/console/live",
        "/console.css",
    ] {
        let (status, answer) = get(path).await;
        assert_eq!(status, 404, "{path}: {answer}");
        assert!(
            answer.contains("unknown path") && answer.contains("/openapi.json"),
            "{path}: {answer}"
        );
    }
    let (status, clients) = get("/v1/clients").await;
    assert_eq!(status, 200);
    assert!(clients.contains("shop-1"), "{clients}");
    assert_eq!(get("/openapi.json").await.0, 200);
}
